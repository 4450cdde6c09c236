"""The five addresses on which a TorchServe listens, and why one cannot be had."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

import psutil

from densenet_serving.errors import CommandError
from densenet_serving.server import processes

LOOPBACK = "127.0.0.1"

HTTP_ADDRESSES = ("inference_address", "management_address", "metrics_address")
GRPC_PORTS = ("grpc_inference_port", "grpc_management_port")


def ports_from(http: int, grpc: int | None = None) -> dict[str, str]:
    """Return the settings for three ports in a row for HTTP, and two for gRPC, which follow unless another is given."""
    addresses = {name: f"http://{LOOPBACK}:{http + i}" for i, name in enumerate(HTTP_ADDRESSES)}
    first = http + len(addresses) if grpc is None else grpc
    return addresses | {name: str(first + i) for i, name in enumerate(GRPC_PORTS)}


DEFAULT_ADDRESSES = ports_from(8080, 7070)  # of TorchServe 0.12


def check_ports(values: Mapping[str, str]) -> None:
    """Raise CommandError if a port cannot be had that TorchServe's settings name."""
    for key in DEFAULT_ADDRESSES:
        host = values.get(key.replace("_port", "_address"), LOOPBACK) if key in GRPC_PORTS else LOOPBACK
        check_port_is_free(key, values[key], host)


def check_port_is_free(key: str, address: str, host: str = LOOPBACK) -> None:
    """Raise CommandError, which says why, if no program of this user can listen at an address.

    `key` is the setting or option that names the address: a URL, or a port of `host`.
    """
    url = urlsplit(address)
    host, port = (host, int(address)) if address.isdigit() else (url.hostname or host, url.port)
    if not port:
        raise CommandError(f"{key}={address} names no port: write it out in the settings, as in http://127.0.0.1:8080.")
    others = "another --port" if key == "--port" else "a free range with serve --port or web --torchserve-port"
    try:
        family, kind, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found)
    except socket.gaierror as error:
        raise CommandError(f"{host} has no address here ({error.strerror}): name one of this machine's.") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            said = f"Port {port} is taken by {holder_of(port)}: end that, or give {others}."
        elif error.errno == errno.EADDRNOTAVAIL:
            said = f"{host} is not an address of this machine: give one that it has, or 0.0.0.0 for all of them."
        elif error.errno in (errno.EACCES, errno.EPERM):
            said = f"This user may not listen on port {port} of {host} ({error.strerror}): give {others}."
        else:
            said = f"Nothing can listen on port {port} of {host} ({error.strerror}): give {others}."
        raise CommandError(said) from error


def holder_of(port: int) -> str:
    """Say which process listens on a port, as far as this user may know."""
    try:
        connections = psutil.net_connections("tcp")
    except psutil.Error:
        connections = []
    listening = [
        one for one in connections if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port
    ]
    if not listening:
        return "a process that this user cannot see"
    pid = next((one.pid for one in listening if one.pid), None)
    return described(pid) if pid else "a process of another user"


def described(pid: int) -> str:
    """Say what a process is: a part of a server of this project and how to end it, or a program's name."""
    try:
        process = psutil.Process(pid)
        for part in processes.VARIABLES:
            if run_dir := processes.run_dir_of(process, part):
                return f"the {part} of {run_dir} (pid {pid}), which densenet stop --run-dir {run_dir} ends"
        return f"{process.name()} (pid {pid})"
    except psutil.Error:
        return f"the process {pid}"
