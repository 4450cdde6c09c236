from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from handler.answers import Answer, Prediction
from handler.errors import RequestError
from handler.metrics import BATCH, DECODE, IMAGES, INFERENCE, NAMES, OUTCOMES, Metrics
from tests.handler.test_card import CARD
from tests.worker import FakeMetrics

MODEL = {"model_name": CARD.name, "model_version": CARD.version}
LABELS = ("outcome", "reason")


@pytest.fixture
def cache() -> FakeMetrics:
    return FakeMetrics()


@pytest.fixture
def metrics(cache: FakeMetrics) -> Metrics:
    return Metrics(cache, CARD)


def every_error(root: type[RequestError] = RequestError) -> Iterator[type[RequestError]]:
    for error in root.__subclasses__():
        yield error
        yield from every_error(error)


def test_the_metrics_file_declares_every_metric(cache: FakeMetrics) -> None:
    assert set(cache.cache["histogram"]) | set(cache.cache["counter"]) == set(NAMES)


def test_every_outcome_there_can_be_stands_at_zero_from_the_start(cache: FakeMetrics, metrics: Metrics) -> None:
    assert OUTCOMES[:2] == (("recognized", "none"), ("unrecognized", "none"))
    assert set(OUTCOMES[2:]) == {("rejected", error.__name__) for error in every_error()}
    assert all(reason.isidentifier() for _, reason in OUTCOMES), "TorchServe splits labels at commas and colons"
    assert cache.added("counter", IMAGES) == [
        (0, MODEL | dict(zip(LABELS, labels, strict=True))) for labels in OUTCOMES
    ]


def test_results_are_counted_by_outcome_and_reason(cache: FakeMetrics, metrics: Metrics) -> None:
    good, unsure = (Answer.of(Prediction("n0", "red", 0.5), recognized) for recognized in (True, False))
    errors = [error("a client's own words") for error in every_error()]
    metrics.count([good, unsure, good, *errors, errors[0], good])

    added = cache.added("counter", IMAGES)[len(OUTCOMES) :]
    expected = [(3, "recognized", "none"), (1, "unrecognized", "none")]
    expected += [(2 if error is errors[0] else 1, "rejected", type(error).__name__) for error in errors]
    assert added == [(n, MODEL | dict(zip(LABELS, labels, strict=True))) for n, *labels in expected]


def test_a_block_is_timed_in_seconds_unless_it_raises(
    cache: FakeMetrics, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter([10.0, 10.25, 11])
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))
    with metrics.timed(DECODE):
        pass
    with pytest.raises(ZeroDivisionError), metrics.timed(INFERENCE):
        raise ZeroDivisionError
    assert cache.added("histogram", DECODE) == [(0.25, MODEL)]
    assert cache.added("histogram", INFERENCE) == []


def test_what_the_server_does_not_declare_is_not_written(cache: FakeMetrics) -> None:
    """A TorchServe with another metrics file than ours, to which the archive was carried."""
    undeclared: Any = cache.cache["histogram"].pop(BATCH)
    metrics = Metrics(cache, CARD)
    metrics.add(BATCH, 4)
    assert undeclared.added == []
