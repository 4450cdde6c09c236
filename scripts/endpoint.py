"""Where a running TorchServe listens, and the tokens that open it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

import requests

from scripts import paths, properties
from scripts.errors import CommandError

Scope = Literal["inference", "management"]

STATE_FILE = "server.json"
KEY_FILE = "key_file.json"
TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Endpoint:
    """The addresses of one server and the folder in which it keeps its tokens."""

    inference: str
    management: str
    metrics: str
    folder: Path

    @classmethod
    def from_properties(cls, values: dict[str, str], folder: Path) -> Self:
        return cls(
            inference=values["inference_address"],
            management=values["management_address"],
            metrics=values["metrics_address"],
            folder=folder,
        )

    @classmethod
    def find(cls, run_dir: Path) -> Self:
        """Find the server that `densenet serve` started with this run folder, or else the one that
        `torchserve --start` started by hand from the repository's root."""
        state = run_dir / STATE_FILE
        if state.exists():
            return cls(**json.loads(state.read_text())["endpoint"] | {"folder": run_dir})
        return cls.from_properties(properties.read(paths.SERVER_CONFIG), paths.ROOT)

    def to_dict(self) -> dict[str, str]:
        return {key: str(value) for key, value in asdict(self).items()}

    @property
    def model_store(self) -> Path:
        """The only folder this server loads archives from."""
        return self.folder / properties.read(self.folder / paths.SERVER_CONFIG.name)["model_store"]

    @property
    def key_file(self) -> Path:
        return self.folder / KEY_FILE

    def token(self, scope: Scope) -> str:
        """Return a token that is still valid, asking TorchServe for a new one where it has expired.

        Raises CommandError where there is no key file or the server does not answer.
        """
        keys = self._keys()
        expires = datetime.fromisoformat(keys[scope]["expiration time"])
        if expires.tzinfo is None:
            expires = expires.replace(tzinfo=UTC)
        if expires <= datetime.now(UTC):
            self._renew(scope, keys["API"]["key"])
            keys = self._keys()
        return str(keys[scope]["key"])

    def _keys(self) -> dict[str, dict[str, str]]:
        try:
            keys: dict[str, dict[str, str]] = json.loads(self.key_file.read_text())
        except FileNotFoundError as error:
            raise CommandError(
                f"There is no {self.key_file}, so no server runs from there: start one with densenet serve, "
                "or pass its --run-dir."
            ) from error
        except (OSError, ValueError) as error:
            raise CommandError(f"{self.key_file} cannot be read ({error}): restart the server.") from error
        return keys

    def _renew(self, scope: Scope, api_key: str) -> None:
        url = f"{self.management}/token"
        headers = {"Authorization": f"Bearer {api_key}"}
        try:
            response = requests.get(url, params={"type": scope}, headers=headers, timeout=TIMEOUT_SECONDS)
            response.raise_for_status()
        except requests.RequestException as error:
            raise CommandError(
                f"The {scope} token has expired and {url} gave no new one: is the server still running? "
                "Restart it with densenet stop and densenet serve."
            ) from error
