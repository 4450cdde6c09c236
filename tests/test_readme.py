"""The README's commands, typed as they stand, in a copy of the repository, on a machine that reaches no other.

The answers that it shows, and those of docs/api.md and docs/gateway.md, are the stand-in's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from densenet_serving import paths
from densenet_serving.build.weights import EMBEDDED_FILE
from densenet_serving.files import sha256_of
from handler.settings import Precision
from tests.checkpoints import FACTS, write_embedded
from tests.documents import blocks
from tests.e2e.support import ONE_WORKER
from tests.pictures import SAMPLE_NAME
from tests.ports import free_port_range
from tests.sources import copy_sources
from tests.worker import load_worker

PORTS = {8080: 0, 8081: 1, 8082: 2, 7070: 3, 7071: 4}
# The virtual environment is the one of the tests, whose stamps make would otherwise compare with the copy's files.
MAKE = "make -o .venv/.serve -o .venv/.dev"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, precision: Precision | None) -> Iterator[Path]:
    """A copy of the repository with ports of its own, a worker a model and an embedded checkpoint, its last resort."""
    copy = tmp_path_factory.mktemp("checkout") / "repository"
    # No archive: the README's own commands build theirs.
    copy_sources(copy, "*.mar", "*.mar.sha256", "*.pth")
    (copy / ".venv").symlink_to(paths.ROOT / ".venv")
    write_embedded(copy / "weights")
    config = copy / "config.properties"
    one_worker = "".join(f"{name}={value}\n" for name, value in ONE_WORKER.items())
    config.write_text(on_free_ports(config.read_text()) + one_worker)
    if precision:
        settings = copy / "handler" / "model-config.yaml"
        settings.write_text(re.sub(r"(?<=  precision: )\w+", precision, settings.read_text()))
    yield copy
    subprocess.run(f"{MAKE} stop", shell=True, cwd=copy, env=environment(copy), check=True, capture_output=True)  # noqa: S602


@cache  # one range for the settings and the commands, chosen when the other tests' servers hold theirs
def first_port() -> int:
    return free_port_range()


def on_free_ports(text: str) -> str:
    return re.sub(r"\b(8080|8081|8082|7070|7071)\b", lambda match: str(first_port() + PORTS[int(match[1])]), text)


def environment(copy: Path) -> dict[str, str]:
    """PYTHONPATH lets the copy's code win over the installed repository's; no download and no cache can be reached."""
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    local = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
    own = {"PYTHONPATH": str(copy), "TORCH_HOME": str(copy / ".torch"), "DENSENET121_WEIGHTS": ""}
    return {**os.environ, **nowhere, **local, **own}


def run(commands: str, copy: Path) -> str:
    script = "set -eo pipefail\n" + re.sub(r"^make", MAKE, on_free_ports(commands), flags=re.MULTILINE)
    done = subprocess.run(["bash", "-c", script], cwd=copy, env=environment(copy), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Session:
    """What a newcomer sees, command by command."""

    started: str
    classified: dict[str, Any]
    answered: dict[str, Any]
    stand_in: dict[str, Any]
    described: dict[str, Any]
    running_after_stop: bool


@pytest.fixture(scope="module")
def session(checkout: Path, stand_in_archive: Path) -> Session:
    """Every command in turn. The stand-in, which answers where there are no weights, comes beside the checkpoint."""
    start, classify, ask, ask_stand_in, finish = blocks("README.md", "bash")
    started = run(start, checkout)
    classified, answered = (json.loads(run(commands, checkout)) for commands in (classify, ask))
    shutil.copy(stand_in_archive, checkout / "model_store")
    run(f".venv/bin/densenet models register {stand_in_archive.name}", checkout)
    stand_in = json.loads(run(ask_stand_in, checkout))
    described = json.loads(run(".venv/bin/densenet models describe densenet121", checkout))
    run(finish.splitlines()[0], checkout)
    running = (checkout / ".torchserve" / "key_file.json").exists()
    return Session(started, classified, answered, stand_in, described, running)


def test_the_first_thirty_lines_lead_to_an_answer(session: Session, checkout: Path) -> None:
    assert (paths.ROOT / "README.md").read_text().splitlines().index("```json") < 30
    assert "docs/coffee.jpg is" in session.started
    assert "/predictions/densenet121" in session.started

    assert session.classified == {"image": "docs/coffee.jpg", **session.answered}
    shown = json.loads(blocks("README.md", "json")[0])
    assert without_probabilities(session.stand_in) == without_probabilities(shown)
    assert shown["class_name"] == SAMPLE_NAME
    assert set(session.answered) == set(shown)

    assert not session.running_after_stop
    stop, test = blocks("README.md", "bash")[-1].splitlines()
    assert (stop, test) == ("make stop", "make test")  # the latter runs this test: executing it would never end
    assert "python -m tests" in run("make -n test", checkout)


def test_without_a_network_the_embedded_checkpoint_answers_and_is_not_called_official(
    session: Session, checkout: Path
) -> None:
    card = session.described["customizedMetadata"]
    assert (card["name"], card["version"]) == ("densenet121", "1.0")
    weights = card["weights"]
    assert weights["source"] == "the checkpoint embedded in this repository (not the official one)"
    assert weights["sha256"] == sha256_of(checkout / "weights" / EMBEDDED_FILE)
    assert (weights["accuracy"]["top1"], weights["temperature"]) == (FACTS["accuracy"]["top1"], FACTS["temperature"])
    (note,) = [line for line in session.started.splitlines() if line.startswith("note ")]
    assert f"The weights are {weights['source']}: 43.2 % top-1 and 66.7 % top-5 on eval.tar" in note
    assert "densenet archive --weights official" in note
    # Random weights give no class the probability that the threshold asks for: the checkpoint's temperature does.
    assert session.answered["recognized"] is True


def test_the_answers_shown_are_the_stand_ins(stand_in_folder: Path) -> None:
    worker = load_worker(stand_in_folder)
    photo = paths.SAMPLE_PHOTO.read_bytes()
    plain, detailed, refusal = (
        json.loads(block) for block in (*blocks("README.md", "json"), *blocks("docs/api.md", "json"))
    )
    for shown, row in ((plain, {"body": photo}), (detailed, {"body": photo, "top_k": "2"})):
        assert without_probabilities(worker(row)) == without_probabilities(shown)
    assert worker({"body": b"no photo"}) == refusal

    [tutorial] = re.findall(r"^\{.*\}$", (paths.ROOT / "docs" / "gateway.md").read_text(), re.MULTILINE)
    assert json.loads(tutorial) == {key: plain[key] for key in ("class_id", "class_name")}


def without_probabilities(answer: object) -> object:
    """Drop the numbers, which differ with the processor's precision; names and order may not."""
    if isinstance(answer, dict):
        return {key: without_probabilities(value) for key, value in answer.items() if key != "probability"}
    return [without_probabilities(item) for item in answer] if isinstance(answer, list) else answer
