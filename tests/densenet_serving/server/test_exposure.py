from __future__ import annotations

import pytest

from densenet_serving.client.endpoint import is_loopback
from densenet_serving.errors import CommandError
from densenet_serving.server.exposure import check_models_cannot_come_from_elsewhere, warning

LOCAL = {
    "inference_address": "http://127.0.0.1:8080",
    "management_address": "https://localhost:8081",
    "metrics_address": "http://[::1]:8082",
    "grpc_inference_address": "127.0.0.1",
    "grpc_management_address": "127.0.0.1",
    "enable_model_api": "true",
}


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("10.0.0.1", False),
        ("::", False),
        ("example.org", False),
    ],
)
def test_what_is_of_this_machine_only(host: str, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"management_address": "unix:/tmp/management.sock"},
        {"enable_model_api": "false", "inference_address": "http://0.0.0.0:1"},
    ],
)
def test_what_is_safe_is_not_mentioned(changes: dict[str, str]) -> None:
    check_models_cannot_come_from_elsewhere(LOCAL | changes)
    assert warning(LOCAL | changes) is None


@pytest.mark.parametrize(
    ("setting", "address"),
    [
        ("management_address", "http://0.0.0.0:8081"),
        ("management_address", "https://[::]:8081"),
        ("management_address", "http://models.example.org:8081"),
        ("grpc_management_address", "0.0.0.0"),  # noqa: S104
    ],
)
def test_models_from_other_machines_are_refused_unless_they_are_fixed(setting: str, address: str) -> None:
    with pytest.raises(CommandError, match="lets other machines register models") as refusal:
        check_models_cannot_come_from_elsewhere(LOCAL | {setting: address, "enable_model_api": "True"})
    assert str(refusal.value).startswith(f"{setting}={address} ")
    assert "serve with --fixed-models" in str(refusal.value)
    check_models_cannot_come_from_elsewhere(LOCAL | {setting: address, "enable_model_api": "false"})


@pytest.mark.parametrize(
    ("setting", "address"),
    [
        ("inference_address", "http://0.0.0.0:8080"),
        ("metrics_address", "http://10.0.0.1:8082"),
        ("grpc_inference_address", "::"),
    ],
)
def test_predictions_for_other_machines_are_warned_of_while_models_may_be_registered(
    setting: str, address: str
) -> None:
    check_models_cannot_come_from_elsewhere(LOCAL | {setting: address})
    said = warning(LOCAL | {setting: address})
    assert said is not None
    assert said.startswith(f"{setting}={address} is open to other machines")
    assert "--fixed-models" in said
