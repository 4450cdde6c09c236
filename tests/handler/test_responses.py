from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest

from handler.errors import BadRequest, PayloadTooLarge, RequestError, ServiceUnavailable, UnsupportedMediaType
from handler.labels import Prediction
from handler.parameters import Parameters
from handler.responses import MAX_ANSWER_BYTES, Response, Writer, answer, encode, items, prediction, respond

CAT = Prediction("n02124075", "Egyptian_cat", 0.87654321)
TABBY = Prediction("n02123045", "tabby", 0.1)
GOOD = {"class_id": "n02124075"}


@pytest.mark.parametrize(
    ("error", "status", "type_name"),
    [
        (BadRequest("Why."), 400, "BadRequestException"),
        (PayloadTooLarge("Why."), 413, "RequestEntityTooLargeException"),
        (UnsupportedMediaType("Why."), 415, "UnsupportedMediaTypeException"),
        (ServiceUnavailable("Why."), 503, "ServiceUnavailableException"),
    ],
)
def test_an_error_has_the_form_of_torchserve(error: RequestError, status: int, type_name: str) -> None:
    response = respond([error])
    assert response.status == status
    assert json.loads(response.body) == {"code": status, "type": type_name, "message": "Why."}


def test_one_prediction() -> None:
    assert prediction([CAT], Parameters(top_k=1, min_probability=0.2)) == {
        "class_id": "n02124075",
        "class_name": "Egyptian_cat",
        "probability": 0.876543,
        "recognized": True,
    }


def test_several_predictions_come_as_a_list_beside_the_best() -> None:
    fields = prediction([CAT, TABBY], Parameters(top_k=2, min_probability=0.2))
    assert fields["class_name"] == "Egyptian_cat"
    assert fields["predictions"] == [
        {"class_id": "n02124075", "class_name": "Egyptian_cat", "probability": 0.876543},
        {"class_id": "n02123045", "class_name": "tabby", "probability": 0.1},
    ]


@pytest.mark.parametrize("top_k", [1, 2])
def test_an_unrecognized_image_has_no_class_but_keeps_its_candidates(top_k: int) -> None:
    fields = prediction([CAT, TABBY][:top_k], Parameters(top_k, min_probability=0.9))
    assert (fields["recognized"], fields["class_id"], fields["class_name"]) == (False, None, None)
    assert fields["probability"] == 0.876543
    assert len(fields.get("predictions", [])) == (2 if top_k == 2 else 0)


def test_the_threshold_itself_is_recognized() -> None:
    assert prediction([TABBY], Parameters(1, min_probability=0.1))["recognized"] is True


BAD, HUGE = BadRequest("Bad."), PayloadTooLarge("Huge.")


@pytest.mark.parametrize(
    ("results", "status", "shape"),
    [
        ([GOOD], 200, dict),
        ([BAD], 400, dict),
        ([GOOD, GOOD], 200, list),
        ([BAD, GOOD], 200, list),
        ([HUGE, BAD], 413, list),
        ([BAD, HUGE], 400, list),
    ],
)
def test_status_and_shape(results: list[Any], status: int, shape: type) -> None:
    response = respond(results)
    assert response.status == HTTPStatus(status)
    assert isinstance(json.loads(response.body), shape)


def test_a_bad_image_among_good_ones_stands_in_its_place() -> None:
    first, second = json.loads(respond([BAD, GOOD]).body)
    assert first == {"error": {"code": 400, "type": "BadRequestException", "message": "Bad."}}
    assert second == GOOD


@pytest.mark.parametrize("write", [respond, lambda results: Response(HTTPStatus.OK, encode(items(results)))])
@pytest.mark.parametrize(("size", "fits"), [(MAX_ANSWER_BYTES - 100, True), (MAX_ANSWER_BYTES, False)])
def test_an_answer_that_torchserve_would_not_pass_on_is_an_error(write: Writer, size: int, fits: bool) -> None:
    """TorchServe ends a worker that answers a row with more."""
    body = answer(write, [{"overlay": "x" * size}]).body
    assert len(body) <= MAX_ANSWER_BYTES
    assert (b"The answer has 6,553," in body) != fits


def test_names_leave_in_their_own_letters() -> None:
    assert "Übermut".encode() in respond([{"class_name": "Übermut"}]).body


def test_text_that_is_no_unicode_can_be_quoted() -> None:
    """A client may send half a surrogate pair, as JSON allows, and the message repeats it."""
    assert json.loads(respond([BadRequest("Unknown parameter \ud800.")]).body)["code"] == 400
