"""No file of at most 20 MB takes long or much memory, whatever it holds (tests/handler/hostile.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from scripts import paths
from tests.handler.hostile import FILES, MOST

# The bound is 2 s, on a machine that does nothing else; without the check of the structure many take minutes.
SECONDS = 5
MEGABYTES = 500
# Beside the pictures: the copy of the file without its metadata.
COPY = MOST / 1e6


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, Any]]:
    """What came of every file, all in one process with limits of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.handler.road", *FILES], cwd=paths.ROOT, capture_output=True, text=True
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, f"it ended after {lines[-1:]}: {done.stderr[-2000:]}"
    return {line["name"]: line for line in lines}


@pytest.mark.skipif(
    sys.platform != "linux", reason="The peak of a process's memory is read from /proc, as Linux has it."
)
@pytest.mark.parametrize("name", FILES)
def test_no_file_takes_long_or_much_memory(name: str, outcomes: dict[str, dict[str, Any]]) -> None:
    outcome, expected = outcomes[name], FILES[name]
    assert outcome["kind"] == (expected.kind.__name__ if expected.kind else None), outcome
    assert expected.words in outcome["message"]
    if expected.kind:
        assert ": send " in outcome["message"]
        assert outcome["message"].endswith(".")
        assert len(outcome["message"]) < 300
    assert outcome["seconds"] < SECONDS, outcome
    assert outcome["megabytes"] < MEGABYTES + COPY, outcome
