from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from handler.errors import BadRequest, PayloadTooLarge, RequestError
from handler.parameters import EXPLANATION, PREDICTION, Parameters
from handler.payload import ImageRequest, parse
from handler.settings import Settings

SETTINGS = Settings(max_images=3)
CLASSES = 1000
JSON_HEADERS = {"Content-Type": "application/json"}
FORM_HEADERS = {"Content-Type": "multipart/form-data; boundary=x"}

DEFAULTS = Parameters(top_k=1, min_probability=0.2)


def read(row: dict[str, Any], headers: dict[str, Any] | None = None, classes: int = CLASSES) -> ImageRequest:
    return parse(row, headers or {}, SETTINGS, classes, PREDICTION)


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def message_of(row: dict[str, Any], headers: dict[str, Any] | None = None) -> str:
    with pytest.raises(BadRequest) as caught:
        read(row, headers)
    return str(caught.value)


@pytest.mark.parametrize("body", [b"photo", bytearray(b"photo")])
@pytest.mark.parametrize("field", ["body", "data"])
def test_a_raw_body_is_one_image(field: str, body: bytes | bytearray) -> None:
    assert read({field: body}, {"Content-Type": "image/jpeg"}) == ImageRequest((body,), DEFAULTS)


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


DOCUMENT = {"instances": [b64(b"one"), b64(b"two")], "parameters": {"top_k": 5, "min_probability": 0.5}}
READ = ImageRequest((b"one", b"two"), Parameters(top_k=5, min_probability=0.5))


def test_json_that_torchserve_has_decoded() -> None:
    assert read({"body": DOCUMENT}, JSON_HEADERS) == READ


@pytest.mark.parametrize("name", ["Content-Type", "content-type", "CONTENT-TYPE"])
@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8", "application/ld+json"],
)
@pytest.mark.parametrize("make", [bytes, bytearray, bytes.decode])
def test_json_that_torchserve_handed_on_undecoded(make: Any, content_type: str, name: str) -> None:
    assert read({"body": make(json.dumps(DOCUMENT).encode())}, {name: content_type}) == READ


def test_json_as_a_part_of_a_form() -> None:
    headers = FORM_HEADERS | {"request": {"content-type": "application/json"}}
    assert read({"request": json.dumps(DOCUMENT).encode()}, headers) == READ


def test_json_and_a_file_in_one_form_keep_their_order() -> None:
    assert read({"file": b"zero", "request": DOCUMENT}, FORM_HEADERS).images == (b"zero", b"one", b"two")


@pytest.mark.parametrize("prefix", ["data:image/jpeg;base64,", "data:;base64,"])
def test_a_data_url_is_read(prefix: str) -> None:
    assert read({"body": {"instances": [{"b64": prefix + b64(b"photo")["b64"]}]}}).images == (b"photo",)


def test_wrapped_base64_is_read() -> None:
    assert read({"body": {"instances": [{"b64": "cGhv\ndG8=\n"}]}}).images == (b"photo",)


@pytest.mark.parametrize(
    "instance", [{"b64": "!!!"}, {"b64": "YQ"}, {"b64": "ü"}, {"b64": 3}, {"url": "x"}, "YQ==", 1, None]
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


@pytest.mark.parametrize("parameters", [[1], "top_k=5", 5])
def test_json_parameters_of_a_wrong_shape(parameters: Any) -> None:
    assert "parameters are not an object" in message_of({"body": DOCUMENT | {"parameters": parameters}})


@pytest.mark.parametrize("parameters", [None, {}])
def test_json_parameters_may_be_empty(parameters: Any) -> None:
    assert read({"body": DOCUMENT | {"parameters": parameters}}).parameters == DEFAULTS


def test_unknown_parameters_are_named() -> None:
    message = message_of({"body": DOCUMENT | {"parameters": {"topk": 5, "top_k": 5, "class": 1}}})
    assert "Unknown parameter class, topk" in message
    assert "top_k, min_probability" in message


EXPLAINED = {"Class-Id": "n02124075", "overlay": "1"}


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


def test_headers_that_are_parameters_of_explanations_do_nothing() -> None:
    assert read({"body": b"photo"}, EXPLAINED).parameters == DEFAULTS


def test_explanations_take_their_own_parameters() -> None:
    request = parse({"file": b"photo", "class_id": "n02124075", "overlay": "1"}, {}, SETTINGS, CLASSES, EXPLANATION)
    assert request == ImageRequest((b"photo",), Parameters(1, 0.2, class_id="n02124075", overlay=1))


def test_an_unknown_parameter_of_any_length_makes_a_readable_message() -> None:
    assert len(message_of({"body": DOCUMENT | {"parameters": {"x" * 10_000: 1}}})) < 200


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


SPELLINGS = [("top_k", "min_probability"), ("Top-K", "Min-Probability"), ("TOP_K", "MIN-PROBABILITY")]


@pytest.mark.parametrize(("top_k_name", "min_probability_name"), SPELLINGS)
@pytest.mark.parametrize(
    ("top_k", "min_probability"), [(b"5", b"0.5"), (bytearray(b"5"), bytearray(b"0.5")), ("5", "0.5"), (5, 0.5)]
)
def test_parameters_as_fields(top_k_name: str, min_probability_name: str, top_k: Any, min_probability: Any) -> None:
    row = {top_k_name: top_k, "file": b"photo", min_probability_name: min_probability}
    assert read(row, FORM_HEADERS) == ImageRequest((b"photo",), Parameters(5, 0.5))


@pytest.mark.parametrize(("top_k_name", "min_probability_name"), SPELLINGS)
def test_parameters_as_headers(top_k_name: str, min_probability_name: str) -> None:
    assert read({"body": b"photo"}, {top_k_name: "5", min_probability_name: "0.5"}).parameters == Parameters(5, 0.5)


@pytest.mark.parametrize(("top_k_name", "min_probability_name"), SPELLINGS)
def test_parameters_in_json(top_k_name: str, min_probability_name: str) -> None:
    document = DOCUMENT | {"parameters": {top_k_name: 5, min_probability_name: 0.5}}
    assert read({"body": document}).parameters == Parameters(5, 0.5)


@pytest.mark.parametrize("row", [{"body": b"photo", "top_k": b"5"}, {"body": DOCUMENT}])
@pytest.mark.parametrize("header", ["top_k", "Top-K"])
def test_the_body_wins_over_the_header(row: dict[str, Any], header: str) -> None:
    assert read(row, {header: "7"}).parameters.top_k == 5


@pytest.mark.parametrize(("value", "top_k"), [("1", 1), ("1000", 1000), (" 5 ", 5), (1000, 1000)])
def test_good_values_of_top_k(value: Any, top_k: int) -> None:
    assert read({"body": b"photo", "top_k": value}).parameters.top_k == top_k


@pytest.mark.parametrize(
    "value",
    [
        "abc",
        "",
        "0",
        "1001",
        "-1",
        "1.5",
        1.5,
        5.0,
        True,
        None,
        [5],
        {"k": 5},
        b"\xff",
        pytest.param("9" * 5000, id="long"),
        pytest.param(10**400, id="huge"),
    ],
)
def test_bad_values_of_top_k(value: Any) -> None:
    message = message_of({"body": DOCUMENT | {"parameters": {"top_k": value}}})
    assert message.startswith("top_k must be a whole number from 1 to 1000; it is ")
    assert len(message) < 100


@pytest.mark.parametrize(("value", "expected"), [("0", 0), ("1", 1), (0, 0), (1, 1), ("1e-3", 0.001), (b".5", 0.5)])
def test_good_values_of_min_probability(value: Any, expected: float) -> None:
    assert read({"body": b"photo", "min_probability": value}).parameters.min_probability == expected


@pytest.mark.parametrize(
    "value",
    ["abc", "", "nan", "inf", "2", "-0.1", 2, True, None, [0.5], float("nan"), pytest.param(10**400, id="huge")],
)
def test_bad_values_of_min_probability(value: Any) -> None:
    message = message_of({"body": DOCUMENT | {"parameters": {"min_probability": value}}})
    assert message.startswith("min_probability must be a number from 0 to 1; it is ")
    assert len(message) < 100


def test_a_deeply_nested_value_is_refused_like_any_other() -> None:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    assert "top_k must be" in message_of({"body": b"photo", "top_k": value})


def test_the_default_never_asks_for_more_than_there_are_classes() -> None:
    request = parse({"body": b"photo"}, {}, Settings(top_k=5), 2, PREDICTION)
    assert request.parameters.top_k == 2


def test_every_error_is_one_the_client_can_be_told() -> None:
    with pytest.raises(RequestError):
        read({"body": b"photo"}, {"Top-K": "many"})
