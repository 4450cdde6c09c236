"""One unit as it runs on a machine of its own: a gateway and its TorchServe, started, killed, told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from densenet_serving import paths, properties
from tests.hosts.network import Machine
from tests.waiting import until

PORT = 8000
METRICS_PORT = 8082
ASKED = "ts_inference_requests_total"
READY_SECONDS = 120
END_SECONDS = 90
# How long a unit goes on taking requests once it says that it ends: the load balancer asks every second.
DRAIN_DELAY = 2
# Three units share the cores of this machine: one worker each is enough, and starts in half the time of two.
WORKERS = 1


class Unit:
    """`densenet web --foreground` on a machine. Only the gateway's port is reachable from the others."""

    def __init__(self, machine: Machine, folder: Path) -> None:
        self.machine = machine
        self.url = f"http://{machine.address}:{PORT}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, model_store: Path) -> None:
        """Start it; returns at once."""
        self._folder.mkdir(exist_ok=True)
        options: list[str | Path] = ["--host", self.machine.address, "--port", str(PORT), "--fixed-models"]
        options += ["--config", self._settings()]
        options += ["--drain-delay", str(DRAIN_DELAY), "--allowed-host", "*", "--run-dir", self._folder / "run"]
        command = [sys.executable, "-m", "scripts.web", "--foreground"]
        with (self._folder / "console.log").open("ab") as console:
            self._process = subprocess.Popen(
                self.machine.command([*command, "--model-store", model_store, *options]),
                cwd=paths.ROOT,
                env=os.environ | {"PYTHONPATH": str(paths.ROOT)},
                stdout=console,
                stderr=console,
            )

    def wait_until_ready(self, asking: Machine) -> None:
        until(lambda: self.is_ready(asking), READY_SECONDS, self.console)

    def is_ready(self, asking: Machine) -> bool:
        """Ask /readyz from another machine. Fails if the unit has ended."""
        assert self._process is not None
        assert self._process.poll() is None, self.console()
        try:
            asking.read(f"{self.url}/readyz")
        except subprocess.CalledProcessError:
            return False
        return True

    def kill(self) -> None:
        """End it as a loss of power would, and collect the process."""
        self.machine.kill()
        assert self._process is not None
        self._process.wait(END_SECONDS)

    def end(self) -> int:
        """Tell it to end, and return its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(END_SECONDS)

    def asked(self) -> int:
        """Return how many photos TorchServe itself was asked about since it started."""
        text = self.machine.read(f"http://127.0.0.1:{METRICS_PORT}/metrics")
        families = text_string_to_metric_families(text)
        return sum(int(one.value) for family in families for one in family.samples if one.name == ASKED)

    def workers(self) -> list[int]:
        """Return the process ids of TorchServe's workers."""
        return [pid for pid in self.machine.pids() if b"model_service_worker" in _command_line(pid)]

    def _settings(self) -> Path:
        """Write config.properties for a machine that does not have all cores to itself."""
        values = properties.read(paths.SERVER_CONFIG)
        values |= {
            "default_workers_per_model": str(WORKERS),
            "metrics_config": str(paths.SERVER_CONFIG.parent / values["metrics_config"]),
        }
        file = self._folder / paths.SERVER_CONFIG.name
        properties.write(file, "Made by tests/hosts from config.properties.", values)
        return file

    def console(self) -> str:
        return (self._folder / "console.log").read_text()


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""  # it ended meanwhile
