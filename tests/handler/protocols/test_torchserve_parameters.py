"""Parameters in a request: where they may stand, and which values they take."""

from __future__ import annotations

from typing import Any

import pytest

from handler.labels import Labels
from handler.operations import Chosen, Explain, Predict
from handler.protocols.torchserve import TorchServeProtocol, parse
from handler.settings import Settings
from tests.handler.protocols.reading import DEFAULTS, DOCUMENT, FORM_HEADERS, LABELS, SETTINGS, found, message_of, read


@pytest.mark.parametrize("parameters", [[1], "top_k=5", 5])
def test_json_parameters_of_a_wrong_shape(parameters: Any) -> None:
    assert "parameters are not an object" in message_of({"body": DOCUMENT | {"parameters": parameters}})


@pytest.mark.parametrize("parameters", [None, {}])
def test_json_parameters_may_be_empty(parameters: Any) -> None:
    assert read({"body": DOCUMENT | {"parameters": parameters}}).chosen == DEFAULTS


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
    assert read({"body": b"photo"}, EXPLAINED).chosen == DEFAULTS


def test_explanations_take_their_own_parameters() -> None:
    explain = Explain(LABELS, SETTINGS, None)
    images, given = parse({"file": b"photo", "class_id": "n285", "overlay": "1"}, {}, explain)
    assert (images, explain.choose(given)) == ((b"photo",), Chosen(1, 0.2, class_index=285, overlay=1))


def test_an_unknown_parameter_of_any_length_makes_a_readable_message() -> None:
    assert len(message_of({"body": DOCUMENT | {"parameters": {"x" * 10_000: 1}}})) < 200


SPELLINGS = [("top_k", "min_probability"), ("Top-K", "Min-Probability"), ("TOP_K", "MIN-PROBABILITY")]


@pytest.mark.parametrize(("top_k_name", "min_probability_name"), SPELLINGS)
@pytest.mark.parametrize(
    ("top_k", "min_probability"), [(b"5", b"0.5"), (bytearray(b"5"), bytearray(b"0.5")), ("5", "0.5"), (5, 0.5)]
)
def test_parameters_as_fields(top_k_name: str, min_probability_name: str, top_k: Any, min_probability: Any) -> None:
    row = {top_k_name: top_k, "file": b"photo", min_probability_name: min_probability}
    assert found(row, FORM_HEADERS) == ((b"photo",), Chosen(5, 0.5))


@pytest.mark.parametrize(("top_k_name", "min_probability_name"), SPELLINGS)
def test_parameters_as_headers(top_k_name: str, min_probability_name: str) -> None:
    assert read({"body": b"photo"}, {top_k_name: "5", min_probability_name: "0.5"}).chosen == Chosen(5, 0.5)


@pytest.mark.parametrize(("top_k_name", "min_probability_name"), SPELLINGS)
def test_parameters_in_json(top_k_name: str, min_probability_name: str) -> None:
    document = DOCUMENT | {"parameters": {top_k_name: 5, min_probability_name: 0.5}}
    assert read({"body": document}).chosen == Chosen(5, 0.5)


@pytest.mark.parametrize("row", [{"body": b"photo", "top_k": b"5"}, {"body": DOCUMENT}])
@pytest.mark.parametrize("header", ["top_k", "Top-K"])
def test_the_body_wins_over_the_header(row: dict[str, Any], header: str) -> None:
    assert read(row, {header: "7"}).chosen.top_k == 5


@pytest.mark.parametrize(("value", "top_k"), [("1", 1), ("1000", 1000), (" 5 ", 5), (1000, 1000), ("1001", 1000)])
def test_good_values_of_top_k(value: Any, top_k: int) -> None:
    assert read({"body": b"photo", "top_k": value}).chosen.top_k == top_k


@pytest.mark.parametrize(
    "value",
    [
        "abc",
        "",
        "0",
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
        pytest.param(-(10**400), id="huge"),
    ],
)
def test_bad_values_of_top_k(value: Any) -> None:
    message = message_of({"body": DOCUMENT | {"parameters": {"top_k": value}}})
    assert message.startswith("top_k must be a whole number of at least 1; it is ")
    assert len(message) < 100


@pytest.mark.parametrize(("value", "expected"), [("0", 0), ("1", 1), (0, 0), (1, 1), ("1e-3", 0.001), (b".5", 0.5)])
def test_good_values_of_min_probability(value: Any, expected: float) -> None:
    assert read({"body": b"photo", "min_probability": value}).chosen.min_probability == expected


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


@pytest.mark.parametrize("row", [{"body": b"photo"}, {"body": b"photo", "top_k": b"10"}])
def test_a_model_of_fewer_classes_lists_all_it_has(row: dict[str, Any]) -> None:
    labels, settings = Labels([("a", "cat"), ("b", "dog")]), Settings(top_k=5)
    protocol = TorchServeProtocol(Predict(labels, settings), Explain(labels, settings, None))
    assert protocol.read(row, {}).chosen.top_k == 2
