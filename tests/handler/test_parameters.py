from __future__ import annotations

from typing import Any

import pytest

from handler.errors import BadRequest
from handler.labels import Labels
from handler.operations import Chosen, Explain, Predict
from handler.parameters import EXPLANATION, PREDICTION, check_names, in_headers, shown
from handler.settings import Settings

LABELS = Labels([("n0", "red"), ("n1", "green"), ("n2", "blue")])
EXPLAIN = Explain(LABELS, Settings(), None)


def test_only_parameters_are_taken_from_headers() -> None:
    headers = {"Top-K": "5", "Host": "x", "min_probability": "0.5", "top_k": {"content-type": ""}}
    assert in_headers(headers, PREDICTION) == {"Top-K": "5", "min_probability": "0.5"}


def test_a_header_that_is_a_parameter_elsewhere_is_a_header_like_any_other() -> None:
    headers = {"Top-K": "5", "Class-Id": "n02124075", "Overlay": "1"}
    assert in_headers(headers, PREDICTION) == {"Top-K": "5"}
    assert in_headers(headers, EXPLANATION) == headers


def test_a_header_holds_what_is_outside_ascii_percent_encoded() -> None:
    headers = {"Class-Id": "%E7%8C%AB%0A100%25", "Overlay": "100%"}
    assert in_headers(headers, EXPLANATION) == {"Class-Id": "猫\n100%", "Overlay": "100%"}


def test_defaults_come_from_the_settings_and_fit_the_model() -> None:
    assert Predict(LABELS, Settings(top_k=5, min_probability=0.1)).choose({}) == Chosen(3, 0.1)


def test_of_a_parameter_given_twice_the_last_counts() -> None:
    assert Predict(LABELS, Settings()).choose({"Top-K": "2", "top_k": 3}).top_k == 3


def test_a_misspelt_parameter_is_refused() -> None:
    check_names({"Top-K": 1, "MIN_PROBABILITY": 0}, PREDICTION)
    with pytest.raises(BadRequest, match="Unknown parameter topk: predictions take top_k, min_probability; explan"):
        check_names({"topk": 1, "top_k": 1}, PREDICTION)


@pytest.mark.parametrize(
    ("name", "here", "there"),
    [
        ("Class-Id", PREDICTION, EXPLANATION),
        ("overlay", PREDICTION, EXPLANATION),
    ],
)
def test_a_parameter_of_another_endpoint_is_refused(name: str, here: tuple[str, ...], there: tuple[str, ...]) -> None:
    check_names({name: 1}, there)
    with pytest.raises(
        BadRequest, match=f"Unknown parameter {name}: .*explanations take top_k, min_probability, class_id, "
    ):
        check_names({name: 1}, here)


def test_values_are_quoted_in_short() -> None:
    assert len(shown("x" * 10_000)) <= 40
    assert len(shown([[[[[10**4000] * 1000]]]])) <= 40


@pytest.mark.parametrize(("value", "index"), [("n0", 0), (b"n2", 2), (bytearray(b"n1"), 1), (None, None)])
def test_a_class_is_chosen_by_its_id(value: Any, index: int | None) -> None:
    given = {} if value is None else {"Class-Id": value}
    assert EXPLAIN.choose(given).class_index == index


@pytest.mark.parametrize("value", ["red", "0", "", 0, b"\xff", "x" * 10_000])
def test_a_class_that_the_model_has_not_is_refused(value: Any) -> None:
    with pytest.raises(BadRequest, match=r"The model has no class .*: class_id is one such as n0"):
        EXPLAIN.choose({"class_id": value})
