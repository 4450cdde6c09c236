"""Where a running TorchServe listens, and the tokens in its key file."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, Self

import requests

from densenet_serving import paths, properties
from densenet_serving.client import transport
from densenet_serving.errors import CommandError

Scope = Literal["inference", "management"]

KEY_FILE = "key_file.json"
TIMEOUT_SECONDS = 10
RESTART = "restart the server with densenet stop and densenet serve."


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

    def token(self, scope: Scope, margin: timedelta = timedelta()) -> str:
        """Return a token that stays valid for at least `margin`; if the current one does not, TorchServe makes another.

        Raises CommandError if there is no key file or the server does not answer.
        """
        token, expires, api_key = self._keys(scope)
        if expires - margin <= datetime.now(UTC):
            self._renew(scope, api_key)
            token, _, _ = self._keys(scope)
        return token

    def replace_token(self, scope: Scope) -> None:
        """Ask TorchServe for a new token, so that it refuses the current one. Raises CommandError."""
        self._renew(scope, self._keys(scope)[2])

    def _keys(self, scope: Scope) -> tuple[str, datetime, str]:
        """Read the token of a scope, the time it expires and the key that renews it. Raises CommandError."""
        try:
            keys = json.loads(self.key_file.read_text())
            expires = datetime.fromisoformat(keys[scope]["expiration time"])
            token, api_key = keys[scope]["key"], keys["API"]["key"]
        except FileNotFoundError as error:
            raise CommandError(
                f"There is no {self.key_file}, so no server runs from there: start one with densenet serve, "
                "or pass its --run-dir."
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CommandError(f"{self.key_file} cannot be read ({error}): restart the server.") from error
        return token, expires if expires.tzinfo else expires.replace(tzinfo=UTC), api_key

    def _renew(self, scope: Scope, api_key: str) -> None:
        url = f"{self.management}/token"
        headers = {"Authorization": f"Bearer {api_key}"}
        try:
            with transport.session(self.certificate) as session:
                response = session.get(url, params={"type": scope}, headers=headers, timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise CommandError(f"{url} did not answer, which gives new tokens: {RESTART}") from error
        if not response.ok:
            raise CommandError(f"{url} answered {response.status_code} and gave no new {scope} token: {RESTART}")
