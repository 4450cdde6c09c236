"""What Envoy does before several hosts: which of them it asks, and what reaches none."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from densenet_serving.gateway.errors import Busy
from densenet_serving.gateway.messages import NO_RETRY
from densenet_serving.gateway.protocol import MAX_HEAD_BYTES
from densenet_serving.gateway.settings import GatewaySettings
from tests import certificates
from tests.deploy.conftest import Proxy
from tests.deploy.envoy import program, settings
from tests.local_server import Reply, as_json
from tests.waiting import until

REQUESTS = 40
GATEWAY = GatewaySettings(Path(), "")
FULL = as_json({"message": "The queue is full."}, 503)


def test_envoy_accepts_the_file(pair: certificates.Pair, tmp_path: Path) -> None:
    file = tmp_path / "envoy.yaml"
    file.write_text(yaml.safe_dump(settings(pair=pair)))
    command: list[str | Path] = [program(), "--mode", "validate", "-c", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warning]" not in done.stderr


def test_every_host_is_asked(proxy: Proxy) -> None:
    assert all(proxy.ask().ok for _ in range(REQUESTS))
    assert all(proxy.asked())


def test_the_hosts_learn_who_asks(proxy: Proxy) -> None:
    claimed = "203.0.113.7"
    proxy.ask(headers={"X-Forwarded-For": claimed})
    [asked] = [asked for host in proxy.asked() for asked in host]
    headers = {name.lower(): value for name, value in asked.headers.items()}
    # The last is what Envoy itself saw; for a client of its own machine it writes one of that machine's addresses.
    first, last = headers["x-forwarded-for"].split(",")
    assert first == claimed
    assert last != claimed
    assert headers["x-forwarded-proto"] == "https"


def test_a_dead_host_loses_no_request(proxy: Proxy) -> None:
    proxy.end(0)
    assert [proxy.ask().json() for _ in range(REQUESTS)] == [{"host": 1}] * REQUESTS
    proxy.envoy.wait_for(1)


def test_a_host_that_says_it_is_not_ready_is_not_asked(proxy: Proxy) -> None:
    proxy.hosts[0].on("GET /readyz", as_json({"message": "It stops."}, 503))
    proxy.envoy.wait_for(1)
    # The thread that forwards requests learns it a moment after the statistics.
    until(lambda: all(proxy.ask().json() == {"host": 1} for _ in range(REQUESTS)))
    before = len(proxy.asked()[0])
    assert all(proxy.ask().json() == {"host": 1} for _ in range(REQUESTS))
    assert len(proxy.asked()[0]) == before
    proxy.hosts[0].on("GET /readyz", as_json({"status": "Ready"}))
    proxy.envoy.wait_for(len(proxy.hosts))


def test_a_full_host_is_helped_by_the_other(proxy: Proxy) -> None:
    proxy.hosts[0].on("POST /predict", FULL)
    photo = bytes(1_000_000)
    assert all(proxy.ask(body=photo).json() == {"host": 1} for _ in range(REQUESTS))
    refused, answered = proxy.asked()
    assert refused, "it was asked first now and then, and stays in service"
    assert {len(asked.body) for asked in answered} == {len(photo)}, "the second try sends the photo again"
    assert proxy.envoy.healthy() == len(proxy.hosts)


def test_a_host_that_does_not_answer_is_helped_by_the_other(proxy: Proxy) -> None:
    """After the 10 s of a try; the client waits for no more than that and the other's answer."""
    proxy.hosts[0].on("POST /predict", Reply(hangs=True))
    for _ in range(REQUESTS):
        assert proxy.ask().json() == {"host": 1}
        if proxy.asked()[0]:
            return
    pytest.fail("the host that hangs was never asked")


def test_where_all_are_full_nobody_insists(proxy: Proxy) -> None:
    proxy.answer(FULL)
    answer = proxy.ask()
    assert (answer.status_code, answer.json()) == (503, {"message": "The queue is full."})
    assert [len(asked) for asked in proxy.asked()] == [1, 1]


def test_a_refusal_that_says_so_is_final(proxy: Proxy) -> None:
    """A gateway says it once it has refused many: then the others are full too, and a second try makes it worse."""
    proxy.answer(replace(FULL, headers={NO_RETRY: "true"}))
    assert [proxy.ask().status_code for _ in range(REQUESTS)] == [503] * REQUESTS
    assert sum(map(len, proxy.asked())) == REQUESTS


@pytest.mark.parametrize("status", [400, 413, 415, 429, 500])
def test_other_answers_pass_as_they_are(proxy: Proxy, status: int) -> None:
    proxy.answer(as_json({"message": "No."}, status))
    answer = proxy.ask()
    assert (answer.status_code, answer.json()) == (status, {"message": "No."})
    assert sum(map(len, proxy.asked())) == 1


def test_without_a_host_the_answer_is_503(proxy: Proxy) -> None:
    for number in range(len(proxy.hosts)):
        proxy.end(number)
    proxy.envoy.wait_for(0)
    answer = proxy.ask()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, str(Busy.retry_after))


def pieces(size: int) -> Iterator[bytes]:
    for _ in range(0, size, 1 << 20):
        yield bytes(1 << 20)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_reaches_nobody(proxy: Proxy, chunked: bool) -> None:
    size = GATEWAY.max_body_bytes + (1 << 20)
    assert proxy.ask(body=pieces(size) if chunked else bytes(size)).status_code == 413
    assert proxy.asked() == [[], []]


def test_headers_that_are_too_long_reach_nobody(proxy: Proxy) -> None:
    answer = proxy.ask(headers={"X-Long": "a" * (MAX_HEAD_BYTES + 1)})
    assert answer.status_code == 431
    assert proxy.asked() == [[], []]


def test_without_tls_nobody_is_answered(proxy: Proxy) -> None:
    address = urlsplit(proxy.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as plain:
        plain.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert plain.recv(1024) == b""
