"""The settings of one gateway, which `densenet web` passes to its process as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from handler.cores import default_workers
from handler.settings import Settings


@dataclass(frozen=True)
class GatewaySettings:
    """What a gateway serves, to whom, and its limits, which protect memory and the other clients.

    run_dir: the server's run folder, which also holds the API keys and the gateway's log.
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
        return json.dumps(asdict(self) | {"run_dir": str(self.run_dir)})

    @classmethod
    def from_json(cls, text: str) -> Self:
        values = json.loads(text)
        lists = {name: tuple(values.get(name, ())) for name in ("cors_origins", "allowed_hosts")}
        return cls(**values | lists | {"run_dir": Path(values["run_dir"])})

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host  # an IPv6 address
        return f"http://{host}:{self.port}"
