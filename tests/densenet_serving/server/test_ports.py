from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from densenet_serving.errors import CommandError
from densenet_serving.server.ports import check_port_is_free, check_ports, ports_from
from densenet_serving.server.processes import VARIABLES
from tests.ports import free_port_range


def test_five_ports_in_a_row() -> None:
    assert ports_from(9000) == {
        "inference_address": "http://127.0.0.1:9000",
        "management_address": "http://127.0.0.1:9001",
        "metrics_address": "http://127.0.0.1:9002",
        "grpc_inference_port": "9003",
        "grpc_management_port": "9004",
    }


@pytest.mark.parametrize("form", ["{}", "http://127.0.0.1:{}"])
def test_a_taken_port(taken: int, form: str) -> None:
    name = psutil.Process().name()
    with pytest.raises(CommandError, match=rf"Port {taken} is taken by {name} \(pid {os.getpid()}\): .* --port"):
        check_port_is_free("inference_address", form.format(taken))


def test_a_port_that_our_own_server_has(tmp_path: Path, nobody: str) -> None:
    port = int(nobody.rpartition(":")[2])
    program = f"import socket, time; s = socket.create_server(('127.0.0.1', {port})); print(flush=True); time.sleep(60)"
    environment = os.environ | {VARIABLES["TorchServe"]: str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        with pytest.raises(
            CommandError, match=f"the TorchServe of {tmp_path} .* densenet stop --run-dir {tmp_path} ends"
        ):
            check_port_is_free("--port", nobody)
        process.kill()


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EADDRINUSE, "Port 80 is taken by a process that this user cannot see"),
        (errno.EACCES, r"This user may not listen on port 80 of 127.0.0.1 \(Permission denied\): give another --port"),
        (errno.EADDRNOTAVAIL, "127.0.0.1 is not an address of this machine"),
        (errno.ENOBUFS, r"Nothing can listen on port 80 of 127.0.0.1 \(No buffer space available\)"),
    ],
)
def test_the_reason_is_what_was_seen(number: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(socket.socket):
        def bind(self, _: object) -> None:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket, "socket", Refusing)
    monkeypatch.setattr(psutil, "net_connections", lambda _: [])
    with pytest.raises(CommandError, match=said):
        check_port_is_free("--port", "http://127.0.0.1:80")


@pytest.mark.parametrize(
    ("host", "said"), [("192.0.2.1", "is not an address of this machine"), ("no.such.invalid", "has no address here")]
)
def test_a_host_that_is_not_this_machine(host: str, said: str) -> None:
    with pytest.raises(CommandError, match=f"{host} {said}"):
        check_port_is_free("--port", f"http://{host}:8000")


def test_grpc_listens_where_the_settings_say() -> None:
    values = ports_from(free_port_range()) | {"grpc_inference_address": "192.0.2.1"}
    with pytest.raises(CommandError, match=r"192\.0\.2\.1 is not an address of this machine"):
        check_ports(values)


def test_a_free_port(nobody: str) -> None:
    check_port_is_free("grpc_inference_port", nobody)


def test_an_address_without_a_port() -> None:
    with pytest.raises(CommandError, match=r"metrics_address=.* names no port"):
        check_port_is_free("metrics_address", "http://127.0.0.1")
