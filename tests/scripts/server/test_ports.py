from __future__ import annotations

import pytest

from scripts.errors import CommandError
from scripts.server.ports import check_port_is_free, ports_from


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
    with pytest.raises(CommandError, match=f"Port {taken} is taken by another program: .* --port"):
        check_port_is_free("inference_address", form.format(taken))


def test_a_free_port(nobody: str) -> None:
    check_port_is_free("grpc_inference_port", nobody)


def test_an_address_without_a_port() -> None:
    with pytest.raises(CommandError, match=r"metrics_address=.* names no port"):
        check_port_is_free("metrics_address", "http://127.0.0.1")
