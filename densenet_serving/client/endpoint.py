"""Where a running TorchServe listens, and its tokens: read from its key file, and renewed before they expire."""

from __future__ import annotations

import ipaddress
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

import httpx

from densenet_serving import paths, properties
from densenet_serving.client import transport
from densenet_serving.errors import CommandError

Scope = Literal["inference", "management"]

MARGIN_SECONDS = 60  # before its end a token is renewed
TIMEOUT_SECONDS = 10
RESTART = "restart the server with densenet stop and densenet serve."


class Tokens:
    """The tokens of one server. Safe to share between threads and tasks: one of them renews, the others wait.

    A token that was `given` by hand is used for both APIs and never replaced.
    """

    def __init__(
        self,
        key_file: Path,
        management: str,
        certificate: str,
        given: str | None,
        clock: Callable[[], float],
    ) -> None:
        self._key_file, self._management, self._certificate = key_file, management, certificate
        self.given = given
        self._clock = clock
        self._held: dict[Scope, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def held(self, scope: Scope) -> str | None:
        """Return a token that is valid for a while; None if `get` has to look for one, which may take long."""
        token, until = self._held.get(scope, ("", 0.0))
        return self.given or (token if self._clock() < until else None)

    def get(self, scope: Scope, refused: str = "") -> str:
        """Return a token that is valid for a while, another one than that which the server `refused`, if there is one.

        A token ends early when another program has TorchServe make a new one. Raises CommandError if there is no key
        file, or the server makes no new token.
        """
        with self._lock:
            held = self.held(scope)
            if held and (held != refused or held == self.given):
                return held
            token, expires, _ = self._read(scope)
            if expires - MARGIN_SECONDS <= self._clock():
                self.renew(scope)
                token, expires, _ = self._read(scope)
            # A server may make tokens that last no longer than the margin.
            margin = min(MARGIN_SECONDS, (expires - self._clock()) / 2)
            self._held[scope] = token, expires - margin
            return token

    def renew(self, scope: Scope) -> None:
        """Have TorchServe make a new token, so that it refuses the current one. Raises CommandError."""
        url = f"{self._management}/token"
        headers = {"Authorization": f"Bearer {self._read(scope)[2]}"}
        try:
            with transport.connect(self._certificate, timeout=TIMEOUT_SECONDS) as http:
                response = http.get(url, params={"type": scope}, headers=headers)
        except httpx.TransportError as error:
            raise CommandError(f"{url} did not answer, which gives new tokens: {RESTART}") from error
        if not response.is_success:
            raise CommandError(f"{url} answered {response.status_code} and gave no new {scope} token: {RESTART}")

    def _read(self, scope: Scope) -> tuple[str, float, str]:
        """Read the token of a scope, the time it expires and the key that renews it. Raises CommandError."""
        try:
            keys: dict[str, Any] = json.loads(self._key_file.read_text())
            expires = datetime.fromisoformat(keys[scope]["expiration time"])
            expires = expires if expires.tzinfo else expires.replace(tzinfo=UTC)
            return keys[scope]["key"], expires.timestamp(), keys["API"]["key"]
        except FileNotFoundError as error:
            raise CommandError(
                f"There is no {self._key_file}, so no server runs from there: start one with densenet serve, "
                "or pass its --run-dir."
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CommandError(f"{self._key_file} cannot be read ({error}): restart the server.") from error


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
