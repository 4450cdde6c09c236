"""Envoy with deploy/envoy.yaml, before the units of a test."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from densenet_serving import paths
from tests.hosts.network import Machine

CONFIG = paths.ROOT / "deploy" / "envoy.yaml"
PORT = 8443
CLUSTER = "cluster.densenet"
READY_SECONDS = 120  # a unit starts in ten, and on a busy machine in sixty
END_SECONDS = 10
POLL_SECONDS = 0.2


class Balancer:
    """A running Envoy. Of deploy/envoy.yaml the hosts are replaced, and TLS is left out."""

    def __init__(self, machine: Machine, envoy: Path, folder: Path, hosts: Sequence[tuple[str, int]]) -> None:
        self.url = f"http://{machine.address}:{PORT}"
        self._machine = machine
        config = folder / "envoy.yaml"
        config.write_text(yaml.safe_dump(_settings(hosts)))
        self._log = folder / "envoy.log"
        with self._log.open("wb") as log:
            command = machine.command([envoy, "--config-path", config, "--use-dynamic-base-id", "--concurrency", "1"])
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(END_SECONDS)

    def wait_for(self, hosts: int) -> None:
        """Wait until so many hosts are healthy."""
        deadline = time.monotonic() + READY_SECONDS
        while (found := self._healthy()) != hosts:
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, f"{found} hosts are healthy after {READY_SECONDS} s, and not {hosts}"
            time.sleep(POLL_SECONDS)

    def statistic(self, name: str) -> int:
        """Return one of the cluster's counters, for instance upstream_rq_total: requests sent to hosts."""
        statistics = self._ask(f"stats?format=json&filter=^{CLUSTER}.{name}$")["stats"]
        return sum(int(one["value"]) for one in statistics if "value" in one)

    def _healthy(self) -> int:
        try:
            return self.statistic("membership_healthy")
        except subprocess.CalledProcessError:
            return -1  # it does not listen yet

    def _ask(self, path: str) -> Any:
        return json.loads(self._machine.read(f"http://127.0.0.1:9901/{path}"))


def _settings(hosts: Sequence[tuple[str, int]]) -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    for listener in settings["static_resources"]["listeners"]:
        for chain in listener["filter_chains"]:
            del chain["transport_socket"]
    [cluster] = settings["static_resources"]["clusters"]
    cluster["type"] = "STATIC"
    cluster["load_assignment"]["endpoints"] = [
        {"lb_endpoints": [{"endpoint": {"address": _socket(*host)}} for host in hosts]}
    ]
    return settings


def _socket(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
