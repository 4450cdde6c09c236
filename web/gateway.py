"""Start, find and stop the gateway's process; it lives in the run folder of the TorchServe that it fronts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import psutil
import requests

from scripts import paths
from scripts.client import transport
from scripts.errors import ServingError
from scripts.files import private_file
from scripts.server import processes
from scripts.server.ports import check_port_is_free

if TYPE_CHECKING:
    from web.settings import GatewaySettings

STATE_FILE = "gateway.json"
CONSOLE_FILE = "gateway-console.log"
# Tells the process to answer 503 at /readyz, and everything else as before.
END_SOON = signal.SIGUSR1
READY_SECONDS = 60
ASK_SECONDS = 10
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Gateway:
    """A running gateway. `created` is the start time of its process, since another one may get its pid later."""

    pid: int
    created: float
    url: str

    @classmethod
    def find(cls, run_dir: Path) -> Self | None:
        """Return the gateway that was started with this run folder, if it still runs. Raises ServingError."""
        path = run_dir / STATE_FILE
        if not path.exists():
            return None
        try:
            gateway = cls(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise ServingError(f"{path} is damaged: end the gateway by hand and delete that file.") from error
        return gateway if gateway.process() else None

    def save(self, run_dir: Path) -> None:
        (run_dir / STATE_FILE).write_text(json.dumps(asdict(self), indent=2) + "\n")

    def process(self) -> psutil.Process | None:
        return processes.find(self.pid, self.created)

    def say_not_ready(self) -> None:
        """Have /readyz answer 503, so that a load balancer sends new requests elsewhere. The others are answered."""
        if process := self.process():
            process.send_signal(END_SOON)

    def stop(self, run_dir: Path) -> None:
        """Let it answer the requests that it has, then end it."""
        if process := self.process():
            processes.end(process)
        (run_dir / STATE_FILE).unlink(missing_ok=True)


def start(settings: GatewaySettings) -> Gateway:
    """Start the gateway's process and return as soon as it runs. Raises ServingError.

    It writes to this process's stderr if the settings say foreground, otherwise to a file.
    """
    check_port_is_free("--port", settings.url)
    command = [sys.executable, "-m", "web", settings.to_json()]
    with private_file(settings.run_dir / CONSOLE_FILE) as console:
        output = sys.stderr.fileno() if settings.foreground else console
        process = subprocess.Popen(
            command,
            cwd=paths.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            umask=0o077,  # nobody else may read its log
        )
    gateway = Gateway(process.pid, psutil.Process(process.pid).create_time(), settings.url)
    gateway.save(settings.run_dir)
    return gateway


def wait_until_ready(gateway: Gateway, run_dir: Path, progress: Callable[[str], None]) -> None:
    """Wait until the gateway reaches TorchServe. If it ends, raises ServingError with what it printed."""
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready(gateway):
        if not gateway.process():
            said = (run_dir / CONSOLE_FILE).read_text().strip() or "what it printed stands above."
            raise ServingError(f"The gateway ended while starting:\n{said}")
        if time.monotonic() > deadline:
            raise ServingError(f"The gateway is not ready after {READY_SECONDS} s: {gateway.url}/readyz says why.")
        progress("Starting the gateway")
        time.sleep(POLL_SECONDS)


def is_ready(gateway: Gateway) -> bool:
    try:
        with transport.session() as session:
            return session.get(f"{gateway.url}/readyz", timeout=ASK_SECONDS).ok
    except (requests.ConnectionError, requests.Timeout):
        return False  # it does not listen yet
