"""The five addresses on which a TorchServe listens."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from scripts.errors import CommandError

# The defaults of TorchServe 0.12.
DEFAULT_ADDRESSES = {
    "inference_address": "http://127.0.0.1:8080",
    "management_address": "http://127.0.0.1:8081",
    "metrics_address": "http://127.0.0.1:8082",
    "grpc_inference_port": "7070",
    "grpc_management_port": "7071",
}


def ports_from(port: int) -> dict[str, str]:
    """Return the settings for five ports in a row, beginning with the inference API's."""
    http = {
        f"{kind}_address": f"http://127.0.0.1:{port + i}"
        for i, kind in enumerate(("inference", "management", "metrics"))
    }
    return http | {"grpc_inference_port": str(port + 3), "grpc_management_port": str(port + 4)}


def check_port_is_free(key: str, address: str) -> None:
    port = int(address) if address.isdigit() else urlsplit(address).port
    if not port:
        raise CommandError(f"{key}={address} names no port: write it out in the settings, as in http://127.0.0.1:8080.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CommandError(
                f"Port {port} is taken by another program: stop that one, or give a free range with --port."
            ) from error
