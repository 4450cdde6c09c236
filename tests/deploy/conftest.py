"""Envoy before two hosts that answer what a test tells them, and the container image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import certificates
from tests.deploy import containers, envoy
from tests.deploy.envoy import Envoy
from tests.local_server import Asked, LocalServer, as_json, serve
from tests.ports import free_port_range


@dataclass(frozen=True)
class Proxy:
    """A running Envoy and the hosts behind it; `end(host)` has one die."""

    url: str
    certificate: Path
    hosts: list[LocalServer]
    stacks: list[ExitStack]
    envoy: Envoy

    def ask(self, path: str = "/predict", body: Any = b"photo", **options: Any) -> requests.Response:
        return requests.post(f"{self.url}{path}", data=body, verify=str(self.certificate), timeout=30, **options)

    def asked(self, path: str = "/predict") -> list[list[Asked]]:
        """Return for each host what it was asked for."""
        return [[asked for asked in host.asked if asked.path == path] for host in self.hosts]

    def answer(self, reply: Any) -> None:
        """Let every host answer so."""
        for host in self.hosts:
            host.on("POST /predict", reply)

    def end(self, host: int) -> None:
        self.stacks[host].close()


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> certificates.Pair:
    return certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def proxy(pair: certificates.Pair, tmp_path: Path) -> Iterator[Proxy]:
    port = free_port_range(2)
    with ExitStack() as everything:
        stacks = [everything.enter_context(ExitStack()) for _ in range(2)]
        hosts = [stack.enter_context(serve()) for stack in stacks]
        for number, host in enumerate(hosts):
            host.on("GET /readyz", as_json({"status": "Ready"}))
            host.on("POST /predict", as_json({"host": number}))
        running = everything.enter_context(
            envoy.running(envoy.settings([host.url for host in hosts], pair, port), tmp_path)
        )
        running.wait_for(len(hosts))
        yield Proxy(f"https://127.0.0.1:{port}", pair.certificate, hosts, stacks, running)


@pytest.fixture(scope="session")
def image(pytestconfig: pytest.Config, request: pytest.FixtureRequest) -> str:
    """The name of the image with the stand-in's archive."""
    if not pytestconfig.getoption("full"):
        pytest.skip("the image takes minutes: make test-slow FULL=1 builds and runs it")
    containers.skip_unless_possible()
    return containers.build(request.getfixturevalue("stand_in_archive"))
