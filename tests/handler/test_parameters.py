"""The table of parameters: which values each takes, and which operation knows it."""

from __future__ import annotations

from typing import Any

import pytest

from handler.errors import BadRequest
from handler.labels import Labels
from handler.operations import Chosen, Explain, Predict
from handler.parameters import EXPLANATION, PREDICTION, TABLE, check_names, in_headers, shown
from handler.settings import Settings

LABELS = Labels([(f"n{i}", f"class {i}") for i in range(1000)])
EXPLAIN = Explain(LABELS, Settings(), None)
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


def test_only_parameters_of_the_operation_are_taken_from_headers() -> None:
    headers = {"Top-K": "5", "Class-Id": "n02124075", "Overlay": "1"}
    others = {"Host": "x", "top_k": {"content-type": ""}}  # of a form's part of that name
    assert in_headers(headers | others, PREDICTION) == {"Top-K": "5"}
    assert in_headers(headers | others, EXPLANATION) == headers


def test_a_header_holds_what_is_outside_ascii_percent_encoded() -> None:
    headers = {"Class-Id": "%E7%8C%AB%0A100%25", "Overlay": "100%"}
    assert in_headers(headers, EXPLANATION) == {"Class-Id": "猫\n100%", "Overlay": "100%"}


def test_defaults_come_from_the_settings_and_fit_the_model() -> None:
    few = Labels([("a", "cat"), ("b", "dog")])
    assert Predict(few, Settings(top_k=5, min_probability=0.1)).choose({}) == Chosen(2, 0.1)
    assert Predict(few, Settings()).choose({"top_k": b"10"}).top_k == 2
    assert Predict(LABELS, Settings()).choose({"Top-K": "2", "top_k": 3}).top_k == 3, "the last counts"


@pytest.mark.parametrize("name", ["topk", "Class-Id", "overlay", "x" * 10_000, "\ud800"])
def test_a_parameter_that_the_operation_does_not_know_is_refused(name: str) -> None:
    check_names({"Top-K": 1, "MIN_PROBABILITY": 0}, PREDICTION)
    with pytest.raises(BadRequest, match="top_k, min_probability") as said:
        check_names({name: 1, "top_k": 1}, PREDICTION)
    assert len(str(said.value)) < 200


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *(("top_k", value, int(value)) for value in ("1", "1000", " 5 ", b"5", bytearray(b"5"), 1000)),
        ("top_k", "1001", 1000),
        *(("min_probability", value, float(value)) for value in ("0", "1", 0, 1, "1e-3", b".5", 0.5)),
        *(("overlay", value, float(value)) for value in ("0", "1", b".5")),
        *(("class_index", value, index) for value, index in (("n0", 0), (b"n2", 2), (bytearray(b"n1"), 1))),
    ],
)
def test_good_values(name: str, value: Any, expected: float) -> None:
    given = {"Class-Id" if name == "class_index" else name: value}
    assert getattr(EXPLAIN.choose(given), name) == expected


# Of which none is a number, whatever the parameter.
NOTHING = ("abc", "", "nan", "-0.1", "-1", True, None, [5], {"k": 5}, b"\xff", float("nan"), -(10**400), DEEP)
TOO_MUCH = ("inf", "2", 2, 10**400)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("top_k", value) for value in (*NOTHING, "0", "1.5", 1.5, 5.0, "9" * 5000)),
        *(("min_probability", value) for value in (*NOTHING, *TOO_MUCH)),
        *(("overlay", value) for value in (*NOTHING, *TOO_MUCH)),
    ],
    ids=shown,
)
def test_bad_values_are_refused_in_a_sentence(name: str, value: Any) -> None:
    expected = "a whole number of at least 1" if name == "top_k" else "a number from 0 to 1"
    with pytest.raises(BadRequest) as said:
        EXPLAIN.choose({name: value})
    assert str(said.value).startswith(f"{name} must be {expected}; it is ")
    assert len(str(said.value)) < 100


@pytest.mark.parametrize("value", ["red", "0", "", 0, b"\xff", "x" * 10_000, [[[[[10**4000] * 1000]]]]])
def test_an_unknown_class_is_refused(value: Any) -> None:
    with pytest.raises(BadRequest, match="class_id") as said:
        EXPLAIN.choose({"class_id": value})
    assert len(str(said.value)) < 150, "values are quoted in short"


@pytest.mark.parametrize("one", TABLE, ids=lambda one: one.name)
def test_each_has_a_schema(one: Any) -> None:
    schema = one.schema()
    assert schema["description"].endswith(".")
    assert schema["type"] == {int: "integer", float: "number", str: "string"}[one.type]
    assert schema.get("maximum") == one.most
