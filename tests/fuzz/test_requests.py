"""No request, whatever it holds, gets an undocumented answer, and none disturbs another's in its batch."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from PIL import Image
from tritonclient.http import InferResult

from handler import classifier
from handler.classifier import ImageClassifier
from handler.protocols.inference import InferenceProtocols
from tests.colours import BAD, BLUE, GREEN, RED, ColourEngine, write_folder
from tests.errors import check_error
from tests.fuzz.requests import Request, requests
from tests.worker import FakeContext

CANARY: Request = ({"body": GREEN}, {"explain": "False", "url_path": ""})
# As much as an image of a batch needs to be past every limit.
CONFIG = {"handler": {"max_images": 3, "max_image_bytes": 100_000, "max_image_pixels": 1_000_000}}

FIELDS: dict[str, Any] = {
    "class_id": str | None,
    "class_name": str | None,
    "probability": float,
    "recognized": bool,
}


@pytest.fixture(scope="module")
def handler(tmp_path_factory: pytest.TempPathFactory) -> ImageClassifier:
    folder = write_folder(tmp_path_factory.mktemp("colours"))
    built = ImageClassifier()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier, "load_engine", lambda *_: ColourEngine())
        built.initialize(FakeContext(folder, config=CONFIG))
    return built


Answer = tuple[int, str, dict[str, str], bytes]


def ask(handler: ImageClassifier, batch: list[Request]) -> list[Answer]:
    """Return each row's status, content type, other headers and body."""
    context = FakeContext(Path(), [headers for _, headers in batch])
    bodies = handler.handle([row for row, _ in batch], context)
    assert len(bodies) == len(batch)
    return [
        (context.statuses[i], context.content_types[i], _constant(context.response_headers.get(i, {})), body)
        for i, body in enumerate(bodies)
    ]


def _constant(headers: dict[str, str]) -> dict[str, str]:
    """Leave out how long decoding took."""
    return {name: value for name, value in headers.items() if name != "X-Decode-Seconds"}


def check(headers: dict[str, Any], answer: Answer) -> None:
    """The status is a documented one, and the body has the shape that belongs to it."""
    status, content_type, response_headers, body = answer
    assert status in (200, 400, 413, 415)
    if content_type == "image/png":
        assert (status, headers["explain"]) == (200, "True")
        check_picture(body)
        return
    json_length = response_headers.get("Inference-Header-Content-Length")
    assert content_type == ("application/json" if json_length is None else "application/octet-stream")
    document = json.loads(body[: int(json_length)] if json_length else body, parse_constant=no_number)
    if not InferenceProtocols.recognizes(headers):
        check_own(document, status)
    elif status != 200:
        assert set(document) == {"error"}
        assert isinstance(document["error"], str)
    elif "predictions" in document:
        check_items(document["predictions"])
    else:
        check_tensors(InferResult.from_response_body(body, header_length=json_length))


def no_number(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def check_own(document: Any, status: int) -> None:
    if isinstance(document, list):
        assert len(document) > 1
        check_items(document)
        assert (status != 200) == all("error" in item for item in document)
    elif status == 200:
        check_items([document])
    else:
        check_refusal(document)
        assert document["code"] == status


def check_items(items: list[Any]) -> None:
    assert items
    for item in items:
        if "error" in item:
            check_refusal(item["error"])
        else:
            assert all(isinstance(item.pop(name), kind) for name, kind in FIELDS.items())
            if "overlay" in item:
                check_picture(base64.b64decode(item.pop("overlay"), validate=True))
                assert all(0 <= value <= 1 for rows in item.pop("maps").values() for row in rows for value in row)
            assert set(item) <= {"predictions"}


def check_picture(data: bytes) -> None:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
        assert picture.size == (224, 224)
        picture.load()


def check_refusal(error: dict[str, Any]) -> None:
    assert error["code"] in (400, 413, 415)
    check_error(error, error["code"])
    assert error["message"].endswith(".")
    assert len(error["message"]) < 500


def check_tensors(result: InferResult) -> None:
    outputs = result.get_response()["outputs"]
    assert outputs
    lengths = {result.as_numpy(output["name"]).shape[0] for output in outputs}
    assert len(lengths) == 1
    assert 1 <= lengths.pop() <= CONFIG["handler"]["max_images"]


@hypothesis.settings(hypothesis.settings.get_profile("fuzz"))
@hypothesis.given(batch=st.lists(requests(), min_size=1, max_size=4), place=st.integers(0, 4))
@hypothesis.example(batch=[({"body": RED}, {}), ({"body": BAD}, {}), ({"a": BLUE, "b": b""}, {})], place=1)
def test_every_answer_is_documented_and_no_row_disturbs_another(
    handler: ImageClassifier, batch: list[Request], place: int
) -> None:
    batch.insert(min(place, len(batch)), CANARY)

    together = ask(handler, batch)

    for (_, headers), answer in zip(batch, together, strict=True):
        check(headers, answer)
    assert together == [ask(handler, [request])[0] for request in batch]
    assert json.loads(together[batch.index(CANARY)][3])["class_name"] == "green"
