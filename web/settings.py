"""What a gateway is started with."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from handler.cores import default_workers
from handler.settings import Settings


@dataclass(frozen=True)
class GatewaySettings:
    """`run_dir` is the server's folder, `model` the one that answers, `rate` the requests that a key may make.

    `cors_origins` are the origins whose pages may ask and read answers, `allowed_hosts` the names beside its own under
    which the gateway may be asked. The limits guard memory and the other clients. At most `max_held_bytes` of bodies
    are in memory; `max_in_flight` files are with TorchServe, fewer than its queue holds, and of each client no more
    than `fair_share` while others ask: half the workers, since one hostile photo may keep a worker for two seconds.
    `min_upload_rate` is in bytes a second.
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
    max_body_bytes: int = 33_554_432
    max_file_bytes: int = Settings().max_image_bytes
    max_files: int = Settings().max_images
    max_held_bytes: int = 268_435_456
    max_held_bytes_per_client: int = 67_108_864
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
