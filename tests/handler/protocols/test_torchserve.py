from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from handler.errors import BadRequest, PayloadTooLarge, RequestError, UnsupportedMediaType
from handler.operations import Chosen
from handler.protocols.torchserve import parse, uncompressed
from tests.handler.protocols.reading import (
    DEFAULTS,
    DOCUMENT,
    EXPLAIN,
    FORM_HEADERS,
    JSON_HEADERS,
    READ,
    b64,
    found,
    message_of,
    read,
)


@pytest.mark.parametrize("body", [b"photo", bytearray(b"photo")])
@pytest.mark.parametrize("field", ["body", "data"])
def test_a_raw_body_is_one_image(field: str, body: bytes | bytearray) -> None:
    assert found({field: body}, {"Content-Type": "image/jpeg"}) == ((body,), DEFAULTS)


@pytest.mark.parametrize("field", ["file", "data", "body", "anything", "Datei ü"])
def test_a_form_field_of_any_name_is_an_image(field: str) -> None:
    assert read({field: b"photo"}, FORM_HEADERS).images == (b"photo",)


def test_several_files_keep_their_order() -> None:
    assert read({"z": b"1", "a": b"2", "m": b"3"}, FORM_HEADERS).images == (b"1", b"2", b"3")


def test_a_text_field_is_handed_on_for_the_decoder_to_refuse() -> None:
    assert read({"file": "not a photo"}, FORM_HEADERS).images == (b"not a photo",)


def test_a_field_that_is_no_file_is_an_error_in_its_place() -> None:
    first, second = read({"file": 3, "data": b"photo"}, FORM_HEADERS).images
    assert isinstance(first, BadRequest)
    assert "file holds no file" in str(first)
    assert second == b"photo"


def test_a_form_whose_boundary_contains_the_word_json_is_still_a_form() -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=----FormBoundary7jSoNx"}
    assert read({"data": b"photo"}, headers).images == (b"photo",)


JPEG = b"\xff\xd8\xff\xe0 a photo"
FILE, FIELD = {"content-type": "image/jpeg"}, {"content-type": ""}  # what TorchServe says of parts
UNFILLED = {"content-type": "application/octet-stream"}


def form(**parts: dict[str, str]) -> dict[str, Any]:
    return {**FORM_HEADERS, **parts}


@pytest.mark.parametrize("text", [b"abc123", b"Upload", b"", b"on"])
@pytest.mark.parametrize("names", [("file", "field"), ("field", "file")])
def test_a_part_without_a_file_name_is_a_field(text: bytes, names: tuple[str, str]) -> None:
    row = {name: JPEG if name == "file" else text for name in names}
    assert read(row, form(file=FILE, field=FIELD)).images == (JPEG,)


def test_beside_one_photo_an_empty_file_is_an_input_that_was_not_filled() -> None:
    headers = form(first=UNFILLED, file=FILE, third=UNFILLED)
    assert read({"first": b"", "file": JPEG, "third": b""}, headers).images == (JPEG,)
    assert read({"first": b"", "file": JPEG, "third": JPEG}, headers).images == (b"", JPEG, JPEG)
    assert read({"first": b"", "third": b""}, headers).images == (b"", b"")


def test_without_a_file_a_field_that_holds_an_image_is_the_photo() -> None:
    row = {"csrf_token": b"dGhpcyBpcyBhIHRva2Vu", "photo": JPEG, "submit": b"Upload"}
    assert read(row, form(csrf_token=FIELD, photo=FIELD, submit=FIELD)).images == (JPEG,)
    text = base64.b64encode(JPEG * 20)
    assert read({"photo": text, "submit": b"Upload"}, form(photo=FIELD, submit=FIELD)).images == (text,)


def test_a_form_of_fields_alone_has_no_image() -> None:
    assert "has no image: send the photo" in message_of({"file": b"cat.jpg", "top_k": b"5"}, form(file=FIELD))


def test_a_form_in_which_torchserve_found_no_part() -> None:
    assert "found no whole part in the form" in message_of({}, FORM_HEADERS)
    body = b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--"
    for kind in ("Multipart/Form-Data; boundary=x", "multipart/form-data", "multipart/mixed; boundary=x"):
        assert "did not read the body as a form" in message_of({"body": body}, {"Content-Type": kind})


@pytest.mark.parametrize("content_type", ["text/plain;charset=UTF-8", "", "application/octet-stream"])
def test_json_that_has_another_type(content_type: str) -> None:
    assert found({"body": b" \n" + json.dumps(DOCUMENT).encode()}, {"Content-Type": content_type}) == READ


def test_base64_in_an_urlencoded_body_is_read() -> None:
    text = base64.b64encode(JPEG * 20 + b"\xfb\xef\xbe")
    row = {"token": b"abc", "photo": text.replace(b"+", b" "), "top_k": b"5"}
    payload = read(row, {"Content-Type": "application/x-www-form-urlencoded"})
    assert (payload.images, payload.chosen.top_k) == ((text,), 5)


@pytest.mark.parametrize("name", ["Content-Encoding", "content-encoding"])
def test_a_compressed_body_is_inflated(name: str) -> None:
    assert uncompressed({"body": gzip.compress(JPEG)}, {name: "gzip"}) == {"body": JPEG}
    for row in ({"body": JPEG}, {}, {"file": JPEG, "top_k": b"5"}):
        assert uncompressed(row, {name: "utf-8"}) == row
    with pytest.raises(UnsupportedMediaType, match="Content-Encoding is br"):
        uncompressed({"body": JPEG}, {name: "br"})


def test_json_that_torchserve_has_decoded() -> None:
    assert found({"body": DOCUMENT}, JSON_HEADERS) == READ


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8", "application/ld+json"],
)
@pytest.mark.parametrize("make", [bytes, bytearray, bytes.decode])
def test_json_that_torchserve_handed_on_undecoded(make: Any, content_type: str, name: str) -> None:
    assert found({"body": make(json.dumps(DOCUMENT).encode())}, {name: content_type}) == READ


def test_json_as_a_part_of_a_form() -> None:
    headers = FORM_HEADERS | {"request": {"content-type": "application/json"}}
    assert found({"request": json.dumps(DOCUMENT).encode()}, headers) == READ


def test_json_and_a_file_in_one_form_keep_their_order() -> None:
    assert read({"file": b"zero", "request": DOCUMENT}, FORM_HEADERS).images == (b"zero", b"one", b"two")


@pytest.mark.parametrize("prefix", ["data:image/jpeg;base64,", "data:;base64,"])
def test_a_data_url_is_read(prefix: str) -> None:
    assert read({"body": {"instances": [{"b64": prefix + b64(b"photo")["b64"]}]}}).images == (b"photo",)


def test_wrapped_base64_is_read() -> None:
    assert read({"body": {"instances": [{"b64": "cGhv\ndG8=\n"}]}}).images == (b"photo",)


@pytest.mark.parametrize(
    "instance", [{"b64": "!!!"}, {"b64": "Y"}, {"b64": "ü"}, {"b64": 3}, {"url": "x"}, "YQ==", 1, None]
)
def test_a_bad_instance_is_an_error_in_its_place(instance: Any) -> None:
    first, bad, last = read({"body": {"instances": [b64(b"a"), instance, b64(b"c")]}}).images
    assert (first, last) == (b"a", b"c")
    assert isinstance(bad, BadRequest)
    assert "nstance 1" in str(bad)
    assert "b64" in str(bad)


@pytest.mark.parametrize("document", [{"instances": {}}, {"instances": "x"}, {"instances": None}, {}, [], [b64(b"a")]])
def test_json_without_a_list_of_instances(document: Any) -> None:
    assert "no list named instances" in message_of({"body": document}, JSON_HEADERS)


@pytest.mark.parametrize("scalar", [3, 1.5, True, None])
def test_json_that_is_a_scalar(scalar: Any) -> None:
    assert "no list named instances" in message_of({"body": scalar}, JSON_HEADERS)


@pytest.mark.parametrize(
    "body", [b"{", b"", b"\xff\xfe\xfa", b"{'instances': []}", pytest.param(b"[" * 100_000, id="deep")]
)
def test_broken_json(body: bytes) -> None:
    assert "not valid JSON" in message_of({"body": body}, JSON_HEADERS)


@pytest.mark.parametrize("row", [{}, {"top_k": b"5"}, {"body": {"instances": []}}])
def test_no_image(row: dict[str, Any]) -> None:
    assert "has no image: send the photo" in message_of(row)


def test_an_empty_body_is_left_to_the_decoder() -> None:
    assert read({"body": b""}).images == (b"",)


@pytest.mark.parametrize("row", [{}, {"body": b"photo"}, {"half a photo": b""}])
@pytest.mark.parametrize("suffix", ["", "; charset=utf-8"])
def test_a_urlencoded_body_is_explained(row: dict[str, Any], suffix: str) -> None:
    assert "curl -T" in message_of(row, {"content-type": f"application/x-www-form-urlencoded{suffix}"})


def test_too_many_images() -> None:
    with pytest.raises(PayloadTooLarge, match="has 4 images and the limit is 3: split"):
        read({"body": {"instances": [b64(b"a")] * 4}})
    assert len(read({"body": {"instances": [b64(b"a")] * 3}}).images) == 3


def test_every_error_is_one_the_client_can_be_told() -> None:
    with pytest.raises(RequestError):
        read({"body": b"photo"}, {"Top-K": "many"})


SPELLINGS = [("top_k", "min_probability"), ("Top-K", "Min-Probability"), ("TOP_K", "MIN-PROBABILITY")]


@pytest.mark.parametrize(("top_k", "least"), SPELLINGS)
@pytest.mark.parametrize(
    "place",
    [lambda given: ({"file": b"x"} | given, {}), lambda given: ({"body": b"x"}, given)],
    ids=["field", "header"],
)
def test_parameters_beside_a_photo(place: Any, top_k: str, least: str) -> None:
    assert found(*place({top_k: "5", least: "0.5"})) == ((b"x",), Chosen(5, 0.5))


@pytest.mark.parametrize(("top_k", "least"), SPELLINGS)
def test_parameters_in_json(top_k: str, least: str) -> None:
    assert found({"body": DOCUMENT | {"parameters": {top_k: 5, least: 0.5}}}) == READ


@pytest.mark.parametrize("parameters", [None, {}])
def test_json_parameters_may_be_empty(parameters: Any) -> None:
    assert read({"body": DOCUMENT | {"parameters": parameters}}).chosen == DEFAULTS


@pytest.mark.parametrize("parameters", [[1], "top_k=5", 5])
def test_json_parameters_of_a_wrong_shape(parameters: Any) -> None:
    assert "parameters are not an object" in message_of({"body": DOCUMENT | {"parameters": parameters}})


@pytest.mark.parametrize("row", [{"body": b"photo", "top_k": b"5"}, {"body": DOCUMENT}])
@pytest.mark.parametrize("header", ["top_k", "Top-K"])
def test_the_body_wins_over_the_header(row: dict[str, Any], header: str) -> None:
    assert read(row, {header: "7"}).chosen.top_k == 5


EXPLAINED = {"Class-Id": "n285", "overlay": "1"}


@pytest.mark.parametrize(
    "row",
    [
        {"body": DOCUMENT | {"parameters": EXPLAINED}},
        {"file": b"photo"} | EXPLAINED,
        {"file": b"photo", "Class-Id": b"a photo under this name?", "overlay": bytearray(b"1")},
    ],
)
def test_parameters_of_explanations_are_named_where_they_do_nothing(row: dict[str, Any]) -> None:
    assert "Unknown parameter Class-Id, overlay: predictions take" in message_of(row)


def test_explanations_take_their_own_parameters_and_predictions_no_headers_of_that_name() -> None:
    images, given = parse({"file": b"photo"} | EXPLAINED, {}, EXPLAIN)
    assert (images, EXPLAIN.choose(given)) == ((b"photo",), Chosen(1, 0.2, class_index=285, overlay=1))
    assert read({"body": b"photo"}, EXPLAINED).chosen == DEFAULTS
