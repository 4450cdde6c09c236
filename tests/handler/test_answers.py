from __future__ import annotations

import json
from dataclasses import fields
from http import HTTPStatus

import pytest

from handler.answers import (
    COLUMNS,
    MAX_ANSWER_BYTES,
    Answer,
    Explanation,
    Prediction,
    Response,
    Result,
    Writer,
    answer,
    encode,
    items,
    respond,
    to_json,
)
from handler.errors import (
    ArchiveError,
    BadRequest,
    PayloadTooLarge,
    RequestError,
    ServiceUnavailable,
    UnsupportedMediaType,
)

CAT = Prediction("n02124075", "Egyptian_cat", 0.87654321)
TABBY = Prediction("n02123045", "tabby", 0.1)
GOOD = Answer.of(CAT, recognized=True)
BAD, HUGE = BadRequest("Bad."), PayloadTooLarge("Huge.")


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
    assert not isinstance(error, ArchiveError)


CAT_JSON = {"class_id": "n02124075", "class_name": "Egyptian_cat", "probability": 0.876543}
TABBY_JSON = {"class_id": "n02123045", "class_name": "tabby", "probability": 0.1}
UNNAMED = {"class_id": None, "class_name": None, "probability": 0.876543, "recognized": False}


@pytest.mark.parametrize(
    ("record", "content"),
    [
        (CAT, CAT_JSON),
        (GOOD, CAT_JSON | {"recognized": True}),
        (
            Answer.of(CAT, True, [CAT, TABBY]),
            CAT_JSON | {"recognized": True, "predictions": [CAT_JSON, TABBY_JSON]},
        ),
        (Answer.of(CAT, False), UNNAMED),
        (Answer.of(CAT, False, []), UNNAMED | {"predictions": []}),
        (
            Explanation("n02123045", "tabby", 0.1, True, b"PNG", {"n02123045": [[1.0]]}),
            TABBY_JSON | {"recognized": True, "overlay": "UE5H", "maps": {"n02123045": [[1.0]]}},
        ),
    ],
)
def test_the_json_of_a_record(record: Answer | Prediction | Explanation, content: dict[str, object]) -> None:
    assert to_json(record) == content
    assert list(to_json(record)) == list(content)


@pytest.mark.parametrize("record", [Prediction, Answer, Explanation])
def test_each_field_is_described(record: type) -> None:
    assert all(one.metadata["description"].endswith(".") for one in fields(record))


def test_what_a_column_is() -> None:
    assert [tuple(column) for column in COLUMNS[Answer]] == [
        ("class_id", str, False, False),
        ("class_name", str, False, False),
        ("probability", float, False, False),
        ("recognized", bool, False, False),
        ("predictions", Prediction, True, True),
    ]
    assert [column.type for column in COLUMNS[Explanation][4:6]] == [str, dict]


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
def test_status_and_shape(results: list[Result], status: int, shape: type) -> None:
    response = respond(results)
    assert response.status == HTTPStatus(status)
    assert isinstance(json.loads(response.body), shape)


def test_a_bad_image_among_good_ones_has_its_error_in_its_place() -> None:
    error = {"error": {"code": 400, "type": "BadRequestException", "message": "Bad."}}
    assert json.loads(respond([BAD, GOOD]).body) == [error, to_json(GOOD)]


@pytest.mark.parametrize("write", [respond, lambda results: Response(HTTPStatus.OK, encode(items(results)))])
@pytest.mark.parametrize(("size", "fits"), [(MAX_ANSWER_BYTES // 4 * 3 - 300, True), (MAX_ANSWER_BYTES, False)])
def test_an_answer_that_torchserve_would_not_pass_on_is_an_error(write: Writer, size: int, fits: bool) -> None:
    """TorchServe ends a worker that answers a row with more."""
    body = answer(write, [Explanation("n0", "red", 1, True, bytes(size), {})]).body
    assert len(body) <= MAX_ANSWER_BYTES
    assert (b"The answer has 8,738," in body) != fits


def test_names_leave_in_their_own_letters() -> None:
    assert "Übermut".encode() in respond([Answer.of(Prediction("n0", "Übermut", 1), True)]).body


def test_text_that_is_no_unicode_can_be_quoted() -> None:
    """A client may send half a surrogate pair, as JSON allows, and the message repeats it."""
    assert json.loads(respond([BadRequest("Unknown parameter \ud800.")]).body)["code"] == 400
