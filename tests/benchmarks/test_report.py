"""The tables, the JSON and the plot of a finished benchmark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import plot, report
from benchmarks.results import Spread
from tests.benchmarks.runs import make_run


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        (Spread(6.0, 6.0, 6.0), "6"),
        (Spread(101.4, 98.0, 1234.5), "101 (98-1,234)"),
        (Spread(0.01234, 0.01, 0.02), "0.0123 (0.01-0.02)"),
    ],
)
def test_a_spread_is_shown_in_three_digits(value: Spread | None, expected: str) -> None:
    assert report.show(value) == expected


@pytest.mark.parametrize(
    "part",
    [
        "abc1234",
        "2026-01-02 03:04 UTC",
        "- cpu: A processor",
        "- ours: torch 2.13.0",
        "Rounds: 3",
        "111 kB",
        "| Flask tutorial | 6 | 6 | 6 | 17.00 x | 6 |",
        "- Ray Serve: ray cannot be installed: no such version",
        "| one at a time | 90 | 11 | 10 |",
        "| 2 processes of 1 thread, batch 4 | 141 | - | 10 |",
    ],
)
def test_markdown_names_the_machine_the_contenders_and_what_is_missing(part: str) -> None:
    assert part in report.markdown(make_run())


def test_all_rows_of_a_table_have_the_columns_of_its_head() -> None:
    for block in report.markdown(make_run()).split("\n\n"):
        if block.startswith("|"):
            assert len({line.count("|") for line in block.splitlines()}) == 1


def test_json_holds_samples_and_summary(tmp_path: Path) -> None:
    report.write_json(make_run(), tmp_path / "latest.json")
    ours = json.loads((tmp_path / "latest.json").read_text())["outcomes"][0]
    assert len(ours["samples"]) == 18
    assert ours["summary"]["closed/720x720/32"]["requests_per_second"] == {"median": 102.0, "min": 101.0, "max": 103.0}
    assert ours["start_seconds_spread"]["median"] == 9.0


def test_the_plot_is_written_as_png_and_svg(tmp_path: Path) -> None:
    png, svg = plot.draw(make_run(), tmp_path)
    with Image.open(png) as image:
        assert image.width > 800
    assert svg.read_text().lstrip().startswith("<?xml")
