from __future__ import annotations

from typing import Any

import pytest

from handler.protocols.address import Address, asks_for_card, recognize
from tests.colours import RED
from tests.handler.inference_requests import ADDRESS, OWN_ADDRESS
from tests.worker import Headers


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        (ADDRESS, Address.INFERENCE),
        ({"explain": "True"}, Address.INFERENCE),
        (OWN_ADDRESS, Address.PREDICTIONS),
        ({"Explain": "False", "URL_Path": ""}, Address.PREDICTIONS),
        ({}, Address.PREDICTIONS),  # /models/NAME/invoke, and gRPC
        ({"explain": "True", "url_path": ""}, Address.EXPLANATIONS),
        ({"describe": "True"}, Address.PREDICTIONS),  # of several requests, or with a photo
    ],
)
def test_an_address_is_known_by_its_headers(headers: Headers, address: Address) -> None:
    assert recognize(headers) is address


@pytest.mark.parametrize(
    ("rows", "headers", "asked"),
    [
        ([{}], [{"describe": "True"}], True),
        ([{}], [{"describe": "False"}], False),
        ([{}], [{}], False),
        ([{"body": RED}], [{"describe": "True"}], False),
        ([{}, {}], [{"describe": "True"}, {}], False),
    ],
)
def test_the_card_is_asked_for_alone(rows: list[dict[str, Any]], headers: list[Headers], asked: bool) -> None:
    assert asks_for_card(rows, headers) is asked
