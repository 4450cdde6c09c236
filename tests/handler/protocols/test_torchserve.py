from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from handler.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType
from handler.operations import Chosen
from handler.protocols.torchserve import parse, uncompressed
from tests.handler.inference_requests import b64, predict
from tests.handler.protocols.reading import EXPLAIN, JSON_HEADERS, read

JPEG = b"\xff\xd8\xff\xe0 a photo"
LONG = base64.b64encode(JPEG * 20 + b"\xfb\xef\xbe")
FORM = {"Content-Type": "multipart/form-data; boundary=----Json7jSoNx"}
URLENCODED = {"content-type": "application/x-www-form-urlencoded"}
FILE, FIELD = {"content-type": "image/jpeg"}, {"content-type": ""}  # what TorchServe says of parts
UNFILLED = {"content-type": "application/octet-stream"}

DEFAULTS = Chosen(top_k=1, min_probability=0.2)
DOCUMENT = predict(b"one", b"two", parameters={"top_k": 5, "min_probability": 0.5})
TEXT = json.dumps(DOCUMENT).encode()


NO_IMAGE: list[dict[str, Any]] = [{}, {"top_k": b"5"}, {"body": {"instances": []}}]
NO_INSTANCES = [{"instances": {}}, {"instances": "x"}, {"instances": None}, {}, [], [1], 3, 1.5, True, None]


def form(**parts: dict[str, str]) -> dict[str, Any]:
    return FORM | parts


@pytest.mark.parametrize(
    ("row", "headers", "images"),
    [
        ({"body": b"photo"}, FILE, [b"photo"]),
        ({"data": bytearray(b"photo")}, FILE, [b"photo"]),
        ({"body": b""}, {}, [b""]),  # the decoder refuses it
        *(({name: b"photo"}, FORM, [b"photo"]) for name in ("file", "data", "body", "anything", "Datei ü")),
        ({"z": b"1", "a": b"2", "m": b"3"}, FORM, [b"1", b"2", b"3"]),
        ({"file": "not a photo"}, FORM, [b"not a photo"]),
        # A part without a file name is a field.
        *(
            ({"file": JPEG, "field": text}, form(file=FILE, field=FIELD), [JPEG])
            for text in (b"abc123", b"Upload", b"", b"on")
        ),
        ({"field": b"Upload", "file": JPEG}, form(file=FILE, field=FIELD), [JPEG]),
        # Beside a photo, an empty file is an input that was not filled.
        ({"a": b"", "b": JPEG, "c": b""}, form(a=UNFILLED, b=FILE, c=UNFILLED), [JPEG]),
        ({"a": b"", "b": JPEG, "c": JPEG}, form(a=UNFILLED, b=FILE, c=UNFILLED), [b"", JPEG, JPEG]),
        ({"a": b"", "c": b""}, form(a=UNFILLED, c=UNFILLED), [b"", b""]),
        # Without a file, a field that holds an image is the photo.
        (
            {"token": b"dGhpcyBpcyBhIHRva2Vu", "photo": JPEG, "submit": b"Upload"},
            form(token=FIELD, photo=FIELD, submit=FIELD),
            [JPEG],
        ),
        ({"photo": LONG, "submit": b"Upload"}, form(photo=FIELD, submit=FIELD), [LONG]),
        ({"token": b"abc", "photo": LONG.replace(b"+", b" "), "top_k": b"5"}, URLENCODED, [LONG]),
        # JSON and a file in one form.
        ({"file": b"zero", "request": DOCUMENT}, FORM, [b"zero", b"one", b"two"]),
        *(
            ({"body": {"instances": [{"b64": text}]}}, {}, [b"photo"])
            for text in ("data:image/jpeg;base64,cGhvdG8=", "data:;base64,cGhvdG8=", "cGhv\ndG8=\n")
        ),
    ],
)
def test_the_images_of_a_request(row: dict[str, Any], headers: dict[str, Any], images: list[bytes]) -> None:
    assert list(read(row, headers).images) == images


@pytest.mark.parametrize(
    ("row", "headers"),
    [
        ({"body": DOCUMENT}, JSON_HEADERS),  # decoded by TorchServe
        *(({"body": TEXT}, {name: "application/json"}) for name in ("Content-Type", "content-type", "CONTENT-TYPE")),
        *(
            ({"body": TEXT}, {"Content-Type": kind})
            for kind in ("application/json; charset=utf-8", "Application/JSON;charset=UTF-8", "application/ld+json")
        ),
        *(({"body": kind}, JSON_HEADERS) for kind in (bytearray(TEXT), TEXT.decode())),
        *(
            ({"body": b" \n" + TEXT}, {"Content-Type": other})
            for other in ("text/plain;charset=UTF-8", "", "application/octet-stream")
        ),
        ({"request": TEXT}, form(request={"content-type": "application/json"})),
        *(
            ({"body": DOCUMENT | {"parameters": {top_k: 5, least: 0.5}}}, {})
            for top_k, least in (("Top-K", "Min-Probability"), ("TOP_K", "MIN-PROBABILITY"))
        ),
    ],
)
def test_json(row: dict[str, Any], headers: dict[str, Any]) -> None:
    request = read(row, headers)
    assert (request.images, request.chosen) == ((b"one", b"two"), Chosen(5, 0.5))


@pytest.mark.parametrize(
    ("row", "headers", "facts"),
    [
        ({"file": b"cat.jpg", "top_k": b"5"}, form(file=FIELD), "no image"),
        *((row, {}, "no image") for row in NO_IMAGE),
        ({}, FORM, "no whole part in the form"),
        *(
            ({"body": b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--"}, {"Content-Type": kind}, "form")
            for kind in ("Multipart/Form-Data; boundary=x", "multipart/form-data", "multipart/mixed; boundary=x")
        ),
        *((row, URLENCODED, "curl -T") for row in ({}, {"body": b"photo"}, {"half a photo": b""})),
        ({}, {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}, "curl -T"),
        *(({"body": document}, JSON_HEADERS, "instances") for document in NO_INSTANCES),
        *(
            ({"body": body}, JSON_HEADERS, "not valid JSON")
            for body in (b"{", b"", b"\xff\xfe\xfa", b"{'instances': []}", b"[" * 100_000)
        ),
        *(
            ({"body": DOCUMENT | {"parameters": wrong}}, {}, "parameters are not an object")
            for wrong in ([1], "top_k=5", 5)
        ),
        # Parameters of explanations where they do nothing.
        ({"body": DOCUMENT | {"parameters": {"Class-Id": "n285"}}}, {}, "Class-Id"),
        ({"file": b"photo", "Class-Id": "n285", "overlay": "1"}, {}, "Class-Id, overlay"),
        (
            {"file": b"photo", "Class-Id": b"a photo under this name?", "overlay": bytearray(b"1")},
            {},
            "Class-Id, overlay",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_refused(row: dict[str, Any], headers: dict[str, Any], facts: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read(row, headers)
    assert facts in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_field_that_is_no_file_is_an_error_in_its_place() -> None:
    first, second = read({"file": 3, "data": b"photo"}, FORM).images
    assert isinstance(first, BadRequest)
    assert "file" in str(first)
    assert second == b"photo"


@pytest.mark.parametrize(
    "instance", [{"b64": "!!!"}, {"b64": "Y"}, {"b64": "ü"}, {"b64": 3}, {"url": "x"}, "YQ==", 1, None]
)
def test_a_bad_instance_is_an_error_in_its_place(instance: Any) -> None:
    first, bad, last = read({"body": {"instances": [{"b64": b64(b"a")}, instance, {"b64": b64(b"c")}]}}).images
    assert (first, last) == (b"a", b"c")
    assert isinstance(bad, BadRequest)
    assert "nstance 1" in str(bad)
    assert "b64" in str(bad)


def test_too_many_images() -> None:
    with pytest.raises(PayloadTooLarge, match="4 images and the limit is 3"):
        read({"body": predict(*[b"a"] * 4)})
    assert len(read({"body": predict(*[b"a"] * 3)}).images) == 3


@pytest.mark.parametrize("name", ["Content-Encoding", "content-encoding"])
def test_a_compressed_body_is_inflated(name: str) -> None:
    assert uncompressed({"body": gzip.compress(JPEG)}, {name: "gzip"}) == {"body": JPEG}
    for row in ({"body": JPEG}, {}, {"file": JPEG, "top_k": b"5"}):
        assert uncompressed(row, {name: "utf-8"}) == row
    with pytest.raises(UnsupportedMediaType, match="Content-Encoding is br"):
        uncompressed({"body": JPEG}, {name: "br"})


@pytest.mark.parametrize(
    ("top_k", "least"), [("top_k", "min_probability"), ("Top-K", "Min-Probability"), ("TOP_K", "MIN-PROBABILITY")]
)
def test_parameters_beside_a_photo(top_k: str, least: str) -> None:
    given = {top_k: "5", least: "0.5"}
    assert read({"file": b"x"} | given).chosen == read({"body": b"x"}, given).chosen == Chosen(5, 0.5)


@pytest.mark.parametrize("parameters", [None, {}])
def test_json_parameters_may_be_empty(parameters: Any) -> None:
    assert read({"body": DOCUMENT | {"parameters": parameters}}).chosen == DEFAULTS


@pytest.mark.parametrize("row", [{"body": b"photo", "top_k": b"5"}, {"body": DOCUMENT}])
@pytest.mark.parametrize("header", ["top_k", "Top-K"])
def test_the_body_wins_over_the_header(row: dict[str, Any], header: str) -> None:
    assert read(row, {header: "7"}).chosen.top_k == 5


def test_explanations_take_their_own_parameters_and_predictions_no_headers_of_that_name() -> None:
    explained = {"Class-Id": "n285", "overlay": "1"}
    images, given = parse({"file": b"photo"} | explained, {}, EXPLAIN)
    assert (images, EXPLAIN.choose(given)) == ((b"photo",), Chosen(1, 0.2, class_index=285, overlay=1))
    assert read({"body": b"photo"}, explained).chosen == DEFAULTS
