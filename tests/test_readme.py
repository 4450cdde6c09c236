"""The README's commands, typed as they stand, in a copy of the repository."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from scripts import paths
from tests.e2e.conftest import free_port_range
from tests.worker import load_worker

README = (paths.ROOT / "README.md").read_text()
PORTS = {8080: 0, 8081: 1, 8082: 2, 7070: 3, 7071: 4}
# The virtual environment is the one of the tests, whose stamps make would otherwise compare with the copy's files.
MAKE = "make -o .venv/.serve -o .venv/.dev"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def checkout(seeded_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the repository with ports of its own and, since the README names densenet121, its own checkpoint."""
    copy = tmp_path_factory.mktemp("checkout") / "repository"
    shutil.copytree(paths.ROOT, copy, ignore=shutil.ignore_patterns(".*", "*.mar", "*.pth", "build", "__pycache__"))
    (copy / ".venv").symlink_to(paths.ROOT / ".venv")
    shutil.copy(seeded_checkpoint, copy / "weights" / "seeded.pth")
    config = copy / "config.properties"
    config.write_text(on_free_ports(config.read_text()))
    yield copy
    subprocess.run(f"{MAKE} stop", shell=True, cwd=copy, env=environment(copy), check=True, capture_output=True)  # noqa: S602


@cache  # one range for the settings and the commands, chosen when the other tests' servers hold theirs
def first_port() -> int:
    return free_port_range()


def on_free_ports(text: str) -> str:
    return re.sub(r"\b(8080|8081|8082|7070|7071)\b", lambda match: str(first_port() + PORTS[int(match[1])]), text)


def environment(copy: Path) -> dict[str, str]:
    """PYTHONPATH lets the copy's code win over the installed repository's."""
    return {**os.environ, "PYTHONPATH": str(copy), "DENSENET121_WEIGHTS": ""}


def run(commands: str, copy: Path) -> str:
    script = "set -eo pipefail\n" + re.sub(r"^make", MAKE, on_free_ports(commands), flags=re.MULTILINE)
    done = subprocess.run(["bash", "-c", script], cwd=copy, env=environment(copy), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_first_thirty_lines_lead_to_an_answer(checkout: Path) -> None:
    start, ask, finish = blocks("bash")
    assert README.splitlines().index("```json") < 30

    started = run(start, checkout)
    assert "docs/cat.jpg is" in started
    assert "/predictions/densenet121" in started

    classified, answered = (json.loads(line) for line in run(ask, checkout).splitlines())
    shown = json.loads(blocks("json")[0])
    assert set(answered) == set(shown)
    assert classified == {"image": "docs/cat.jpg", **answered}

    stop, test = finish.splitlines()
    run(stop, checkout)
    assert not (checkout / ".torchserve" / "server.json").exists()
    assert test == "make test"  # runs this test: executing it here would never end
    assert "pytest" in run("make -n test", checkout)


def test_the_answers_shown_are_the_stand_ins(stand_in_folder: Path) -> None:
    worker = load_worker(stand_in_folder)
    photo = paths.SAMPLE_PHOTO.read_bytes()
    plain, detailed, refusal = (json.loads(block) for block in blocks("json"))
    for shown, row in ((plain, {"body": photo}), (detailed, {"body": photo, "top_k": "2"})):
        assert without_probabilities(worker(row)) == without_probabilities(shown)
    assert worker({"body": b"no photo"}) == refusal


def without_probabilities(answer: object) -> object:
    """Drop the numbers, which differ with the processor's precision; names and order may not."""
    if isinstance(answer, dict):
        return {key: without_probabilities(value) for key, value in answer.items() if key != "probability"}
    return [without_probabilities(item) for item in answer] if isinstance(answer, list) else answer
