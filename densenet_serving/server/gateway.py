"""Start, find and stop the gateway's process; it lives in the run folder of the TorchServe that it fronts."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import httpx
import psutil

from densenet_serving import paths
from densenet_serving.client import transport
from densenet_serving.errors import ServingError
from densenet_serving.files import atomic_write, private_file
from densenet_serving.gateway.settings import END_SOON, LOG_FILE, GatewaySettings
from densenet_serving.server import processes
from densenet_serving.server.ports import check_port_is_free
from densenet_serving.server.processes import Identity
from densenet_serving.server.supervision import watch

STATE_FILE = "gateway.json"
CONSOLE_FILE = "gateway-console.log"
LAST_LINES = 15
READY_SECONDS = 60
ASK_SECONDS = 10
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Gateway:
    """A running gateway."""

    identity: Identity
    url: str

    @classmethod
    def find(cls, run_dir: Path) -> Self | None:
        """Return the gateway that was started with this run folder, if it still runs. Raises ServingError."""
        path = run_dir / STATE_FILE
        if not path.exists():
            return None
        try:
            state = json.loads(path.read_text())
            gateway = cls(Identity.read(state), state["url"])
        except (ValueError, TypeError, KeyError) as error:
            raise ServingError(
                f"{path} is damaged, or of another version: densenet stop ends what runs there."
            ) from error
        return gateway if gateway.process() else None

    def save(self, run_dir: Path) -> None:
        state = {"pid": self.pid, "start": self.identity.start, "url": self.url}
        with atomic_write(run_dir / STATE_FILE) as partial:
            partial.write_text(json.dumps(state, indent=2) + "\n")

    @property
    def pid(self) -> int:
        return self.identity.pid

    def process(self) -> psutil.Process | None:
        return self.identity.find()

    def say_not_ready(self) -> None:
        """Have /readyz answer 503, so that a load balancer sends new requests elsewhere. The others are answered."""
        if process := self.process():
            process.send_signal(END_SOON)

    def stop(
        self, run_dir: Path, timeout: float = processes.STOP_SECONDS, at_once: threading.Event | None = None
    ) -> int | None:
        """Let it answer the requests that it has accepted, for `timeout` seconds or until `at_once`, then kill it.

        Returns how many connections were cut off, of which each had a request: a gateway that ends closes the others.
        None says that it ended by itself, after its last answer.
        """
        cut_off = None
        if process := self.process():
            process.terminate()
            watch({"The gateway": self.process}, at_once or threading.Event(), timeout)
        if process := self.process():
            cut_off = open_connections(process, urlsplit(self.url).port)
            processes.kill(process)
        (run_dir / STATE_FILE).unlink(missing_ok=True)
        return cut_off


def open_connections(process: psutil.Process, port: int | None) -> int:
    """Count the clients that are connected to a port of a process."""
    try:
        connections = process.net_connections("tcp")
    except psutil.Error:
        return 0
    return sum(one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port for one in connections)


def check_no_lost_gateway(run_dir: Path) -> None:
    """Raise ServingError if a gateway runs that was started with this run folder, which has no record of it."""
    if lost := processes.started_for("gateway", run_dir):
        raise ServingError(
            f"A gateway (pid {lost[0].pid}) was started with {run_dir} and still runs, and the folder's record of it "
            f"({STATE_FILE}) is gone: densenet stop --run-dir {run_dir} ends it."
        )


def start(settings: GatewaySettings) -> Gateway:
    """Start the gateway's process and return as soon as it runs. Raises ServingError.

    It writes to this process's stderr if the settings say foreground, and ends with this process. Otherwise it writes
    to a file.
    """
    check_port_is_free("--port", settings.address)
    with private_file(settings.run_dir / CONSOLE_FILE) as console:
        identity = processes.spawn(
            "gateway",
            settings.run_dir,
            [sys.executable, "-m", "densenet_serving.gateway", settings.to_json()],
            cwd=paths.ROOT,
            output=sys.stderr.fileno() if settings.foreground else console,
            dies_with_parent=settings.foreground,
        )
    gateway = Gateway(identity, settings.url)
    try:
        gateway.save(settings.run_dir)
    except BaseException:  # a full disk
        gateway.stop(settings.run_dir, timeout=0)
        raise
    return gateway


def wait_until_ready(gateway: Gateway, run_dir: Path, progress: Callable[[str], None]) -> None:
    """Wait until the gateway reaches TorchServe. If it ends, raises ServingError with what it printed."""
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready(gateway):
        if not gateway.process():
            raise ServingError(f"The gateway ended while starting{last_words(run_dir)}")
        if time.monotonic() > deadline:
            raise ServingError(f"The gateway is not ready after {READY_SECONDS} s: {gateway.url}/readyz says why.")
        progress("Starting the gateway")
        time.sleep(POLL_SECONDS)


def is_ready(gateway: Gateway) -> bool:
    try:
        with transport.connect(timeout=ASK_SECONDS) as http:
            return http.get(f"{gateway.url}/readyz").is_success
    except httpx.TransportError:
        return False  # it does not listen yet


def last_words(run_dir: Path) -> str:
    """Return what a gateway said before it ended, from its console or its log, as the end of a sentence."""
    for name in (CONSOLE_FILE, LOG_FILE):
        path = run_dir / name
        if path.exists() and (said := path.read_text(errors="replace").strip()):
            return ":\n" + "\n".join(said.splitlines()[-LAST_LINES:])
    return ", and said nothing to the files in its run folder."
