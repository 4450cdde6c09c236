"""What the load generators print becomes figures."""

from __future__ import annotations

import shutil

import pytest

from benchmarks import load
from benchmarks.load import GOOD_WITHOUT_PHRASE, Target
from densenet_serving.errors import CommandError

WRK = """Running 2s test @ http://127.0.0.1:21000/predict
  1 threads and 8 connections
RESULT {"requests": 200, "duration": 2000000, "p50": 75000, "p95": 90500, "p99": 101250, \
"errors": {"connect": 1, "read": 2, "write": 0, "status": 10, "timeout": 3}}
"""


def test_wrk_counts_good_answers_and_all_errors() -> None:
    figures = load.parse_wrk(WRK)
    assert (figures.requests, figures.rate, figures.errors) == (190, 95.0, 16)
    assert (figures.p50_ms, figures.p95_ms, figures.p99_ms) == (75.0, 90.5, 101.25)
    nothing = load.parse_wrk(WRK.replace('"requests": 200', '"requests": 10'))
    assert (nothing.requests, nothing.p50_ms) == (0, None)
    with pytest.raises(CommandError, match="unable to connect"):
        load.parse_wrk("unable to connect")


def h2load_log(*rows: tuple[int, int, int]) -> str:
    return "".join(f"{1_795_000_000_000_000 + begin}\t{status}\t{time}\n" for begin, status, time in rows)


def test_h2load_rows_become_figures() -> None:
    figures = load.parse_h2load(h2load_log((0, 200, 20_000), (500_000, 200, 40_000), (960_000, 200, 40_000)), 3)
    assert (figures.requests, figures.seconds, figures.errors) == (3, 1.0, 0)
    assert (figures.p50_ms, figures.p99_ms) == (40.0, 40.0)


@pytest.mark.parametrize("status", [-1, 0, 408, 503])
def test_h2load_counts_bad_and_missing_answers_as_errors(status: int) -> None:
    figures = load.parse_h2load(h2load_log((0, 200, 20_000), (1000, status, 900_000)), 4)
    assert (figures.requests, figures.errors, figures.p99_ms) == (1, 3, 20.0)


def test_h2load_of_a_server_without_phrases_and_of_none() -> None:
    """A status without a phrase is logged as 0."""
    figures = load.parse_h2load(h2load_log((0, 0, 20_000), (1000, -1, 900_000)), 2, GOOD_WITHOUT_PHRASE)
    assert (figures.requests, figures.errors) == (1, 1)
    figures = load.parse_h2load("", 5)
    assert (figures.requests, figures.rate, figures.errors, figures.p50_ms) == (0, 0.0, 5, None)


def test_load_never_leaves_this_machine(tmp_path: object) -> None:
    with pytest.raises(CommandError, match="this machine alone"):
        load.closed(Target("http://192.0.2.1:80/", load.WRK_SCRIPT), 1, 1)


def test_missing_generators_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(CommandError, match="apt-get install wrk nghttp2-client"):
        load.check_tools()
