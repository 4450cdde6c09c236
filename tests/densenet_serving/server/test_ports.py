from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import psutil
import pytest

from densenet_serving.errors import CommandError
from densenet_serving.server import processes
from densenet_serving.server.ports import DEFAULT_ADDRESSES, check_port_is_free, check_ports, ports_from
from tests.densenet_serving.conftest import start_part
from tests.ports import free_port_range


def test_five_ports_in_a_row() -> None:
    assert ports_from(9000) == {
        "inference_address": "http://127.0.0.1:9000",
        "management_address": "http://127.0.0.1:9001",
        "metrics_address": "http://127.0.0.1:9002",
        "grpc_inference_port": "9003",
        "grpc_management_port": "9004",
    }
    assert [DEFAULT_ADDRESSES["metrics_address"][-4:], DEFAULT_ADDRESSES["grpc_management_port"]] == ["8082", "7071"]


@pytest.mark.parametrize("form", ["{}", "http://127.0.0.1:{}"])
def test_a_taken_port_names_who_has_it(taken: int, form: str) -> None:
    with pytest.raises(CommandError, match=rf"Port {taken} .*{psutil.Process().name()} \(pid {os.getpid()}\).*--port"):
        check_port_is_free("inference_address", form.format(taken))


def test_a_port_that_a_server_of_ours_has(tmp_path: Path, nobody: str) -> None:
    port = int(nobody.rpartition(":")[2])
    holder = start_part("TorchServe", tmp_path, f"import socket; s = socket.create_server(('127.0.0.1', {port}))")
    with pytest.raises(CommandError, match=f"pid {holder.pid}.*densenet stop --run-dir {tmp_path}"):
        check_port_is_free("--port", nobody)
    processes.kill(holder)
    check_port_is_free("--port", nobody)


@pytest.mark.parametrize(
    ("number", "named"),
    [
        (errno.EADDRINUSE, "Port 80 is taken"),
        (errno.EACCES, "port 80 of 127.0.0.1 .*Permission denied.*--port"),
        (errno.EADDRNOTAVAIL, "127.0.0.1"),
        (errno.ENOBUFS, "port 80 of 127.0.0.1 .*No buffer space available"),
    ],
)
def test_the_reason_is_the_systems(number: int, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def bind(self, _: object) -> None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", Refusing)
    monkeypatch.setattr(psutil, "net_connections", lambda _: [])
    with pytest.raises(CommandError, match=named) as refusal:
        check_port_is_free("--port", "http://127.0.0.1:80")
    assert ("taken" in str(refusal.value)) is (number == errno.EADDRINUSE)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"inference_address": "http://192.0.2.1:8000"}, r"192\.0\.2\.1"),
        ({"inference_address": "http://no.such.invalid:8000"}, "no.such.invalid"),
        ({"grpc_inference_address": "192.0.2.1"}, r"192\.0\.2\.1"),
        ({"metrics_address": "http://127.0.0.1"}, r"metrics_address=http://127\.0\.0\.1"),
    ],
)
def test_an_address_that_is_not_this_machines_or_has_no_port(settings: dict[str, str], named: str) -> None:
    with pytest.raises(CommandError, match=named):
        check_ports(ports_from(free_port_range()) | settings)
