"""The settings of one gateway, which `densenet web` passes to its process as JSON."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from densenet_serving.properties import DEFAULT_QUEUE, DEFAULT_REQUEST_BYTES
from handler.settings import MAX_REQUEST_BYTES, Settings

LOG_FILE = "gateway.log"  # in the run folder
# Tells the process to answer 503 at /readyz, and everything else as before.
END_SOON = signal.SIGUSR1
QUEUE_SHARE = 64  # per cent of the queue: the rest is for who asks TorchServe itself
LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


@dataclass(frozen=True)
class GatewaySettings:
    """What a gateway serves, to whom, and its limits, which protect memory and the other clients.

    run_dir: the server's run folder, which also holds the API keys and the gateway's log.
    keys: a file of API keys that takes the place of the run folder's.
    foreground: whether warnings go to stderr, and the end waits for every answer, since another process bounds it.
    json_logs: whether each of these lines is JSON.
    model: the model that answers.
    rate: the requests that one API key may make, as 600/minute.
    cors_origins: the origins whose pages may send requests and read answers.
    allowed_hosts: the host names under which it answers, besides its own.
    max_body_bytes, max_file_bytes, max_files, max_in_flight: `within` takes them from TorchServe and the model.
    max_in_flight: the images that are with TorchServe at a time, fewer than its queue holds.
    min_upload_rate, min_read_rate: bytes a second.
    decode_seconds: how long decoding one client's images may take a minute.
    proxies: the addresses and networks whose X-Forwarded-For names the client.
    """

    run_dir: Path
    model: str
    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    foreground: bool = False
    json_logs: bool = False
    rate: str = "600/minute"
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_connections: int = 1024
    max_connections_per_address: int = 256
    max_body_bytes: int = MAX_REQUEST_BYTES
    max_file_bytes: int = Settings().max_image_bytes
    max_files: int = Settings().max_images
    max_held_bytes: int = 8 * MAX_REQUEST_BYTES
    max_held_bytes_per_client: int = 2 * MAX_REQUEST_BYTES
    max_requests: int = 256
    max_requests_per_client: int = 64
    max_in_flight: int = 64
    upload_seconds: float = 60
    min_upload_rate: float = 4000
    min_read_rate: float = 4000
    decode_seconds: float = 30
    proxies: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        from pydantic import TypeAdapter  # of the extra `web`, which the commands that only write settings do without

        return TypeAdapter(cls).validate_json(text)

    def within(self, torchserve: Mapping[str, str], model: Mapping[str, Any]) -> Self:
        """Return these settings with the limits that TorchServe's settings and the model's description give.

        What the gateway holds at a time grows with the largest body, and what it passes on fits TorchServe's queue.
        """
        body = int(torchserve.get("max_request_size", DEFAULT_REQUEST_BYTES))
        queue = int(torchserve.get("job_queue_size", DEFAULT_QUEUE))
        limits = model["limits"] if isinstance(model.get("limits"), dict) else {}
        return replace(
            self,
            max_body_bytes=body,
            max_held_bytes=max(self.max_held_bytes, 2 * body),
            max_held_bytes_per_client=max(self.max_held_bytes_per_client, body),
            max_in_flight=max(1, min(self.max_in_flight, queue * QUEUE_SHARE // 100)),
            max_files=int(limits.get("max_images", self.max_files)),
            max_file_bytes=int(limits.get("max_image_bytes", self.max_file_bytes)),
        )

    @property
    def address(self) -> str:
        """The address on which it listens."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address at which this machine reaches it; where it listens on every address, that is the loopback one."""
        return replace(self, host=LOOPBACK_OF.get(self.host, self.host)).address
