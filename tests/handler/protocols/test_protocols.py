from __future__ import annotations

from typing import Any

import pytest

from handler.protocols import asks_for_card
from handler.protocols.inference import InferenceProtocols
from tests.colours import RED
from tests.handler.inference_requests import ADDRESS, OWN_ADDRESS
from tests.worker import Headers


@pytest.mark.parametrize(
    ("headers", "is_inference"),
    [
        (ADDRESS, True),
        ({"explain": "True"}, True),
        (OWN_ADDRESS, False),
        ({"Explain": "False", "URL_Path": ""}, False),
        ({}, False),  # /models/NAME/invoke, and gRPC
        ({"explain": "True", "url_path": ""}, False),
        ({"describe": "True"}, False),  # of several requests, or with a photo
    ],
)
def test_the_inference_protocols_are_known_by_their_headers(headers: Headers, is_inference: bool) -> None:
    assert InferenceProtocols.recognizes(headers) is is_inference


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
