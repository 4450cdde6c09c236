"""top_k and min_probability in every place where a client may put them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from densenet_serving.options import MODEL, STAND_IN
from tests.e2e.support import Inference, content_of

JPEG = {"Content-Type": "image/jpeg"}
INVOKE = f"/models/{STAND_IN}/invoke"


def titled(parameters: dict[str, Any]) -> dict[str, str]:
    return {name.replace("_", "-").title(): str(value) for name, value in parameters.items()}


def as_json(image: bytes, parameters: dict[str, Any]) -> dict[str, Any]:
    return {"json": {"instances": [{"b64": base64.b64encode(image).decode()}], "parameters": parameters}}


# A photo and parameters as one request.
PLACES: dict[str, Callable[[bytes, dict[str, Any]], dict[str, Any]]] = {
    "form fields": lambda image, given: {"data": {name: str(given[name]) for name in given}, "files": {"file": image}},
    "JSON": as_json,
    "headers": lambda image, given: {"body": image, "headers": titled(given)},
    "headers of odd case": lambda image, given: {
        "body": image,
        "headers": {name.swapcase(): value for name, value in titled(given).items()},
    },
    "headers beside a form": lambda image, given: {"files": {"file": image}, "headers": titled(given)},
    "query": lambda image, given: {"body": image, "path": INVOKE, "params": given, "headers": JPEG},
    "query beside a form": lambda image, given: {"files": {"file": image}, "path": INVOKE, "params": given},
}
IN_THE_BODY_OR_QUERY = [name for name in PLACES if "headers" not in name]
everywhere = pytest.mark.parametrize("place", PLACES)


@everywhere
def test_top_k(inference: Inference, cat: bytes, place: str) -> None:
    answer = content_of(inference(**PLACES[place](cat, {"top_k": 3})))
    best, *others = answer["predictions"]
    assert best == {name: answer[name] for name in ("class_id", "class_name", "probability")}
    assert best["probability"] >= others[0]["probability"] >= others[1]["probability"]


@everywhere
def test_min_probability(inference: Inference, cat: bytes, place: str) -> None:
    assert content_of(inference(**PLACES[place](cat, {"min_probability": 0.1})))["recognized"] is True
    refused = content_of(inference(**PLACES[place](cat, {"top_k": 2, "min_probability": 0.99})))
    assert refused["recognized"] is False
    assert (refused["class_id"], refused["class_name"]) == (None, None)
    assert 0 < refused["probability"] < 0.99
    assert len(refused["predictions"]) == 2


@everywhere
@pytest.mark.parametrize("parameters", [{"top_k": 0}, {"top_k": "many"}, {"min_probability": "nan"}])
def test_a_bad_value_is_refused(inference: Inference, cat: bytes, place: str, parameters: dict[str, Any]) -> None:
    answer = inference(**PLACES[place](cat, parameters))
    assert answer.status_code == 400
    assert next(iter(parameters)) in answer.json()["message"]


@pytest.mark.parametrize("place", IN_THE_BODY_OR_QUERY)
def test_a_parameter_of_explanations_is_refused(inference: Inference, cat: bytes, place: str) -> None:
    answer = inference(**PLACES[place](cat, {"class_id": "n02124075"}))
    assert answer.status_code == 400
    assert "class_id" in answer.json()["message"]


def test_a_header_of_that_name_is_only_a_header(inference: Inference, cat: bytes) -> None:
    assert content_of(inference(cat, headers={"Class-Id": "n02124075"})) == content_of(inference(cat))


def test_random_weights_recognize_nothing_and_their_thousand_predictions_sum_to_one(
    inference: Inference, cat: bytes
) -> None:
    answer = content_of(inference(cat, path=f"/predictions/{MODEL}", headers={"Top-K": "1000"}))
    assert (answer["recognized"], answer["class_id"], answer["class_name"]) == (False, None, None)
    assert len({one["class_id"] for one in answer["predictions"]}) == 1000
    assert all(one["class_name"] for one in answer["predictions"])
    assert sum(one["probability"] for one in answer["predictions"]) == pytest.approx(1, abs=1e-3)


def test_the_query_of_predictions_is_dropped_by_torchserve(inference: Inference, cat: bytes) -> None:
    assert "predictions" not in content_of(inference(cat, params={"top_k": 5}))
