"""Where a running TorchServe listens."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from densenet_serving import paths, properties
from densenet_serving.client.tokens import Scope, Tokens
from densenet_serving.errors import CommandError

KEY_FILE = "key_file.json"


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host, which is given by name or number."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True)
class Endpoint:
    """The addresses of one server, the folder that holds its tokens, and the path of its certificate if it has one."""

    inference: str
    management: str
    metrics: str
    folder: Path
    certificate: str = ""

    @classmethod
    def from_properties(cls, values: dict[str, str], folder: Path) -> Self:
        return cls(
            inference=values["inference_address"],
            management=values["management_address"],
            metrics=values["metrics_address"],
            folder=folder,
            certificate=str(folder / values["certificate_file"]) if "certificate_file" in values else "",
        )

    @classmethod
    def find(cls, run_dir: Path) -> Self:
        """Find the server that `densenet serve` started with this run folder. Raises CommandError if there is none.

        For the default folder it is otherwise the one that `torchserve --start` started in the repository's root.
        """
        if (run_dir / KEY_FILE).exists():
            return cls.from_properties(properties.read(run_dir / paths.SERVER_CONFIG.name), run_dir)
        if run_dir != paths.RUN_DIR:
            raise CommandError(f"No server was started with --run-dir {run_dir}: start one with densenet serve.")
        return cls.from_properties(properties.read(paths.SERVER_CONFIG), paths.HOME)

    @property
    def model_store(self) -> Path:
        """The only folder that this server loads archives from."""
        return self.folder / properties.read(self.folder / paths.SERVER_CONFIG.name)["model_store"]

    @property
    def key_file(self) -> Path:
        return self.folder / KEY_FILE

    def tokens(self, given: str | None = None, clock: Callable[[], float] = time.time) -> Tokens:
        return Tokens(self.key_file, self.management, self.certificate, given, clock)

    def token(self, scope: Scope) -> str:
        """Return a token that is valid for a while. Raises CommandError as Tokens.get does."""
        return self.tokens().get(scope)
