"""top_k and min_probability in every place a client may put them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
import requests

from densenet_serving.options import MODEL, STAND_IN
from tests.e2e.support import Inference, content_of

Sender = Callable[[Inference, bytes, dict[str, Any]], requests.Response]


def as_form_fields(inference: Inference, image: bytes, parameters: dict[str, Any]) -> requests.Response:
    return inference(data={name: str(value) for name, value in parameters.items()}, files={"file": image})


def as_json(inference: Inference, image: bytes, parameters: dict[str, Any]) -> requests.Response:
    return inference(json={"instances": [{"b64": base64.b64encode(image).decode()}], "parameters": parameters})


def as_headers(inference: Inference, image: bytes, parameters: dict[str, Any]) -> requests.Response:
    return inference(image, headers={name.replace("_", "-").title(): str(v) for name, v in parameters.items()})


def as_headers_of_odd_case(inference: Inference, image: bytes, parameters: dict[str, Any]) -> requests.Response:
    return inference(image, headers={name.replace("_", "-").swapcase(): str(v) for name, v in parameters.items()})


def as_headers_beside_a_form(inference: Inference, image: bytes, parameters: dict[str, Any]) -> requests.Response:
    headers = {name.replace("_", "-"): str(v) for name, v in parameters.items()}
    return inference(files={"file": image}, headers=headers)


def as_query(inference: Inference, image: bytes, parameters: dict[str, Any]) -> requests.Response:
    path = f"/models/{STAND_IN}/invoke"
    return inference(image, path=path, params=parameters, headers={"Content-Type": "image/jpeg"})


def as_query_beside_a_form(inference: Inference, image: bytes, parameters: dict[str, Any]) -> requests.Response:
    return inference(path=f"/models/{STAND_IN}/invoke", params=parameters, files={"file": image})


everywhere = pytest.mark.parametrize(
    "send",
    [
        as_form_fields,
        as_json,
        as_headers,
        as_headers_of_odd_case,
        as_headers_beside_a_form,
        as_query,
        as_query_beside_a_form,
    ],
)


@everywhere
def test_top_k(inference: Inference, cat: bytes, send: Sender) -> None:
    answer = content_of(send(inference, cat, {"top_k": 3}))

    best, *others = answer["predictions"]
    assert len(others) == 2
    assert best == {name: answer[name] for name in ("class_id", "class_name", "probability")}
    assert best["probability"] >= others[0]["probability"] >= others[1]["probability"]


@everywhere
def test_min_probability(inference: Inference, cat: bytes, send: Sender) -> None:
    assert content_of(send(inference, cat, {"min_probability": 0.1}))["recognized"] is True

    refused = content_of(send(inference, cat, {"min_probability": 0.99}))
    assert refused["recognized"] is False
    assert (refused["class_id"], refused["class_name"]) == (None, None)
    assert 0 < refused["probability"] < 0.99


@everywhere
def test_both_together(inference: Inference, cat: bytes, send: Sender) -> None:
    answer = content_of(send(inference, cat, {"top_k": 2, "min_probability": 1}))

    assert answer["class_name"] is None
    assert [set(one) for one in answer["predictions"]] == [{"class_id", "class_name", "probability"}] * 2


@everywhere
@pytest.mark.parametrize("parameters", [{"top_k": 0}, {"top_k": "many"}, {"min_probability": 1.5}])
def test_a_bad_value_is_refused_wherever_it_stands(
    inference: Inference, cat: bytes, send: Sender, parameters: dict[str, Any]
) -> None:
    answer = send(inference, cat, parameters)

    assert answer.status_code == 400
    assert next(iter(parameters)) in answer.json()["message"]


@pytest.mark.parametrize("send", [as_form_fields, as_json, as_query, as_query_beside_a_form])
def test_a_parameter_of_explanations_is_refused(inference: Inference, cat: bytes, send: Sender) -> None:
    answer = send(inference, cat, {"class_id": "n02124075"})

    assert answer.status_code == 400
    assert "Unknown parameter class_id" in answer.json()["message"]


def test_a_header_of_that_name_is_only_a_header(inference: Inference, cat: bytes) -> None:
    assert content_of(as_headers(inference, cat, {"class_id": "n02124075"})) == content_of(inference(cat))


def test_a_thousand_predictions_sum_to_one(inference: Inference, cat: bytes) -> None:
    answer = content_of(inference(cat, path=f"/predictions/{MODEL}", headers={"Top-K": "1000"}))

    assert len({one["class_id"] for one in answer["predictions"]}) == 1000
    assert sum(one["probability"] for one in answer["predictions"]) == pytest.approx(1, abs=1e-3)


def test_random_weights_recognize_nothing_and_say_so(inference: Inference, cat: bytes) -> None:
    answer = content_of(inference(cat, path=f"/predictions/{MODEL}", headers={"Top-K": "5"}))

    assert answer["recognized"] is False
    assert (answer["class_id"], answer["class_name"]) == (None, None)
    assert len(answer["predictions"]) == 5
    assert all(one["class_name"] for one in answer["predictions"])


def test_the_query_of_predictions_is_dropped_by_torchserve(inference: Inference, cat: bytes) -> None:
    assert "predictions" not in content_of(inference(cat, params={"top_k": 5}))
