"""Who may ask what, and from where."""

from __future__ import annotations

import stat

import pytest
import requests

from densenet_serving.client.endpoint import Endpoint
from densenet_serving.options import STAND_IN
from densenet_serving.server import torchserve
from tests.e2e.support import listening_addresses

OPEN_PORTS = 5


@pytest.fixture
def endpoint(running: torchserve.Server) -> Endpoint:
    return running.endpoint


def bearing(authorization: str | None) -> dict[str, str]:
    return {"Authorization": authorization} if authorization else {}


def predict(endpoint: Endpoint, authorization: str | None) -> requests.Response:
    return requests.put(f"{endpoint.inference}/predictions/{STAND_IN}", data=b"x", headers=bearing(authorization))


def list_models(endpoint: Endpoint, authorization: str | None) -> requests.Response:
    return requests.get(f"{endpoint.management}/models", headers=bearing(authorization))


def assert_refused(answer: requests.Response) -> None:
    assert answer.status_code == 400
    assert answer.json()["type"] == "InvalidKeyException"


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer ", "Bearer wrong", "Basic eDp5"])
def test_without_a_valid_token_nothing_is_answered(endpoint: Endpoint, authorization: str | None) -> None:
    assert_refused(predict(endpoint, authorization))
    assert_refused(list_models(endpoint, authorization))


def test_a_token_is_not_valid_without_its_scheme(endpoint: Endpoint) -> None:
    assert_refused(predict(endpoint, endpoint.token("inference")))


def test_each_token_opens_its_own_door_only(endpoint: Endpoint) -> None:
    may_infer, may_manage = (f"Bearer {endpoint.token(scope)}" for scope in ("inference", "management"))

    assert predict(endpoint, may_infer).status_code == 415  # it came through: the handler answers
    assert list_models(endpoint, may_manage).status_code == 200
    assert_refused(predict(endpoint, may_manage))
    assert_refused(list_models(endpoint, may_infer))


def test_a_management_token_makes_no_tokens(endpoint: Endpoint) -> None:
    headers = bearing(f"Bearer {endpoint.token('management')}")
    assert_refused(requests.get(f"{endpoint.management}/token", params={"type": "inference"}, headers=headers))


def test_metrics_need_none(endpoint: Endpoint) -> None:
    answer = requests.get(f"{endpoint.metrics}/metrics")

    assert answer.status_code == 200
    assert "ts_inference_requests_total" in answer.text


def test_the_keys_are_their_owners_alone(endpoint: Endpoint) -> None:
    assert stat.S_IMODE(endpoint.key_file.stat().st_mode) == 0o600


def test_every_port_is_of_this_machine_only(running: torchserve.Server) -> None:
    addresses = listening_addresses(running.pid)

    assert len(addresses) == OPEN_PORTS
    assert all(address.is_loopback for address in addresses), addresses
