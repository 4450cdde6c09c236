"""The settings of one gateway, which `densenet web` passes to its process as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from handler.cores import default_workers
from handler.settings import Settings

LOOPBACK_OF = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


@dataclass(frozen=True)
class GatewaySettings:
    """What a gateway serves, to whom, and its limits, which protect memory and the other clients.

    run_dir: the server's run folder, which also holds the API keys and the gateway's log.
    keys: a file of API keys that takes the place of the run folder's.
    foreground: whether warnings go to stderr, and the end waits for every answer, since another process bounds it.
    model: the model that answers.
    rate: the requests that one API key may make, as 600/minute.
    cors_origins: the origins whose pages may send requests and read answers.
    allowed_hosts: the host names under which it answers, besides its own.
    max_in_flight: the images that are with TorchServe at a time, fewer than its queue holds.
    fair_share: of those, the images of one client while others wait. It is half the workers, since one hostile photo
        may keep a worker busy for two seconds.
    min_upload_rate: bytes a second.
    """

    run_dir: Path
    model: str
    host: str = "127.0.0.1"
    port: int = 8000
    keys: Path | None = None
    foreground: bool = False
    rate: str = "600/minute"
    cors_origins: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    max_connections: int = 1024
    max_connections_per_address: int = 256
    max_body_bytes: int = 33_554_432  # as max_request_size in config.properties; a test compares them
    max_file_bytes: int = Settings().max_image_bytes
    max_files: int = Settings().max_images
    max_held_bytes: int = 268_435_456  # eight of the largest bodies
    max_held_bytes_per_client: int = 67_108_864  # two of them
    max_requests: int = 256
    max_requests_per_client: int = 64
    max_in_flight: int = 64
    fair_share: int = max(1, default_workers() // 2)
    upload_seconds: float = 60
    min_upload_rate: float = 4000

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        values = json.loads(text)
        lists = {name: tuple(values.get(name, ())) for name in ("cors_origins", "allowed_hosts")}
        files = {name: Path(values[name]) for name in ("run_dir", "keys") if values.get(name)}
        return cls(**values | lists | files)

    @property
    def address(self) -> str:
        """The address on which it listens."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address at which this machine reaches it; where it listens on every address, that is the loopback one."""
        return replace(self, host=LOOPBACK_OF.get(self.host, self.host)).address
