"""One version takes another's place while clients go on asking: each gets an answer, of the one or of the other."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from densenet_serving.build.archives import file_name
from densenet_serving.client.http import Client
from densenet_serving.options import STAND_IN
from densenet_serving.server import torchserve
from tests.e2e.support import Models, as_version, rewrite
from tests.faults.load import Answer, Target, closed_loop, statuses

CLIENTS = 4
PAUSE_SECONDS = 0.1
SECOND = "2.0"


def make_second(store: Path, changes: dict[str, Callable[[str], str]]) -> Path:
    return rewrite(store / f"{STAND_IN}.mar", store / file_name(STAND_IN, SECOND), as_version(SECOND) | changes)


@pytest.fixture
def second(model_store: Path) -> Iterator[Path]:
    path = make_second(model_store, {})
    yield path
    path.unlink()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when the default version is about to change."""
    event, set_default = threading.Event(), Client.set_default

    def noted(client: Client, name: str, version: str) -> None:
        event.set()
        set_default(client, name, version)

    monkeypatch.setattr(Client, "set_default", noted)
    return event


def under_load(
    target: Target, photo: bytes, soon: threading.Event, act: Callable[[], CompletedProcess[str]]
) -> list[Answer]:
    """Ask for as long as a command takes, without trying again: with pauses while a worker starts, then without."""
    stop = threading.Event()
    soon.clear()

    def ask() -> Answer:
        soon.wait(PAUSE_SECONDS)
        return target.ask(photo)

    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(closed_loop, ask, CLIENTS, stop=stop)
        try:
            done = act()
        finally:
            stop.set()
        assert done.returncode == 0, done.stderr
        assert soon.is_set()
        return load.result()


def name_in(answer: Answer) -> str:
    return str(json.loads(answer.body)["class_name"])


def workers_of(client: Client) -> list[int]:
    return [worker["pid"] for version in client.versions(STAND_IN) for worker in version["workers"]]


def registered(client: Client) -> list[tuple[str, str]]:
    return [(one["modelVersion"], one["modelUrl"]) for one in client.versions(STAND_IN)]


def test_an_upgrade_and_the_way_back_lose_no_request(
    running: torchserve.Server, client: Client, models: Models, second: Path, photo: bytes, soon: threading.Event
) -> None:
    target = Target(running.endpoint)
    target.headers["Min-Probability"] = "0"
    first = name_in(target.ask(photo))

    answers = under_load(target, photo, soon, lambda: models("upgrade", second))
    assert statuses(answers) == Counter({200: len(answers)})
    assert {name_in(answer) for answer in answers} == {first, f"second {first}"}
    assert name_in(target.ask(photo)) == f"second {first}"
    assert registered(client) == [(SECOND, second.name)]

    answers = under_load(target, photo, soon, lambda: models("rollback"))
    assert statuses(answers) == Counter({200: len(answers)})
    assert {name_in(answer) for answer in answers} == {first, f"second {first}"}
    assert name_in(target.ask(photo)) == first
    assert registered(client) == [("1.0", f"{STAND_IN}.mar")]


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("handler:\n  colour: blue\n", "workers"),
        ("handler:\n  max_image_bytes: 10\n", "10"),  # it starts, and cannot classify the probe
    ],
)
def test_a_version_that_does_not_work_leaves_the_old_one(
    client: Client, models: Models, model_store: Path, photo: bytes, setting: str, reason: str
) -> None:
    def broken(config: str) -> str:
        lines = [line for line in config.splitlines() if not line.strip().startswith("max_image_bytes")]
        return "\n".join(lines).replace("handler:\n", setting)

    path = make_second(model_store, {"model-config.yaml": broken})
    before = workers_of(client)
    try:
        done = models("upgrade", path)
    finally:
        path.unlink()

    assert done.returncode == 1
    for fact in (reason, f"{STAND_IN} 1.0"):
        assert fact in done.stderr
    assert workers_of(client) == before
    assert client.predict(STAND_IN, photo)["probability"] > 0
