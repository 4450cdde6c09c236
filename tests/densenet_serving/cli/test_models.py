from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from densenet_serving.cli import models
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.errors import ApiError, CommandError
from densenet_serving.server import capacity
from tests.densenet_serving.build.archive_files import write_archive
from tests.densenet_serving.conftest import write_settings
from tests.local_server import LocalServer, as_json


def version(number: str = "1.0", ready: int = 1) -> dict[str, Any]:
    return {
        "modelName": "m",
        "modelVersion": number,
        "modelUrl": "m.mar",
        "minWorkers": 1,
        "workers": [{"status": "READY"}] * ready + [{"status": "LOADING"}],
        "batchSize": 8,
    }


@pytest.fixture
def run_dir(endpoint: Endpoint) -> Path:
    """The run folder of the local server, whose model store lies within and holds m.mar."""
    store = endpoint.folder / "store"
    store.mkdir()
    write_settings(endpoint, model_store=str(store))
    write_archive(store / "m.mar", "2.0")
    return endpoint.folder


@pytest.fixture
def served(local: LocalServer) -> LocalServer:
    local.on("GET /models", as_json({"models": [{"modelName": "m", "modelUrl": "m.mar"}]}))
    local.on("GET /models/m/all", as_json([version(), version("1.1")]))
    local.on("GET /models/m", as_json([version()]))
    for method, path in (
        ("POST", "/models"),
        ("PUT", "/models/m"),
        ("PUT", "/models/m/2.0"),
        ("PUT", "/models/m/1.0/set-default"),
        ("DELETE", "/models/m"),
        ("DELETE", "/models/m/1.0"),
        ("DELETE", "/models/m/2.0"),
    ):
        local.on(f"{method} {path}", as_json({"status": "done"}))
    return local


def changes(local: LocalServer) -> list[str]:
    return [f"{asked.method} {asked.path}" for asked in local.asked if asked.method != "GET"]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    console = Console(file=io.StringIO(), force_terminal=True, width=120, color_system=None)
    monkeypatch.setattr(models, "out", console)
    return cast(io.StringIO, console.file)


def test_list_and_describe_in_a_pipe_and_on_a_terminal(
    run_dir: Path, served: LocalServer, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    models.list_models(run_dir=run_dir)
    first, second = json.loads(capsys.readouterr().out)
    assert first == {"name": "m", "version": "1.0", "archive": "m.mar", "workers": 2, "ready": 1, "batch_size": 8}
    assert second["version"] == "1.1"
    terminal = request.getfixturevalue("terminal")
    models.list_models(run_dir=run_dir)
    assert "m      1.0      m.mar    1 of 2" in terminal.getvalue()
    terminal.truncate(terminal.seek(0))
    models.describe("m", run_dir=run_dir)
    models.describe("m", as_json=True, run_dir=run_dir)
    assert json.loads(terminal.getvalue()) == json.loads(capsys.readouterr().out) == version()


def test_describe_says_how_good_weights_are_that_are_not_the_official_ones(
    run_dir: Path, served: LocalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    accuracy = {"top1": 0.4, "top5": 0.6, "evaluated_on": "eval.tar"}
    weights = {"source": "a student", "sha256": "ab", "license": "MIT", "accuracy": accuracy}
    served.on("GET /models/m", as_json([version() | {"customizedMetadata": {"weights": weights}}]))
    models.describe("m", run_dir=run_dir)
    assert "40.0 % top-1 and 60.0 % top-5 on eval.tar" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sent", "said"),
    [
        (lambda at: models.register(Path("m.mar"), 3, at), ["POST /models", "PUT /models/m/2.0"], "Registered m 2.0."),
        (lambda at: models.register(at / "store" / "m.mar", None, at), ["POST /models"], "Registered m 2.0."),
        (lambda at: models.scale("m", 1, run_dir=at), ["PUT /models/m"], "m has 1 worker."),
        (lambda at: models.scale("m", 0, run_dir=at), ["PUT /models/m"], "m has 0 workers."),
        (lambda at: models.default("m", "1.0", at), ["PUT /models/m/1.0/set-default"], "m 1.0 is the default."),
        (lambda at: models.unregister("m", "", at), ["DELETE /models/m"], "Unregistered m."),
        (lambda at: models.unregister("m", "1.0", at), ["DELETE /models/m/1.0"], "Unregistered m 1.0."),
    ],
)
def test_a_change_is_sent_and_told(
    run_dir: Path,
    served: LocalServer,
    change: Callable[[Path], None],
    sent: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(run_dir)
    assert changes(served) == sent
    assert said in capsys.readouterr().err


def test_register_what_is_registered_and_from_elsewhere(run_dir: Path, served: LocalServer) -> None:
    served.on("GET /models/m/all", as_json([version("2.0")]))
    with pytest.raises(CommandError, match=r"m 2.0 "):
        models.register(Path("m.mar"), run_dir=run_dir)
    with pytest.raises(CommandError, match="model store"):
        models.register(run_dir / "elsewhere" / "m.mar", run_dir=run_dir)
    assert changes(served) == []


@pytest.mark.parametrize("left_behind", [True, False])
def test_a_failed_registration_leaves_nothing_behind(run_dir: Path, served: LocalServer, left_behind: bool) -> None:
    answers = iter([as_json([]), as_json([version("2.0")] if left_behind else [])])
    served.on("GET /models/m/all", lambda _: next(answers))
    served.on("POST /models", as_json({"code": 500, "type": "X", "message": "Workers failed."}, 500))
    with pytest.raises(ApiError, match="Workers failed"):
        models.register(Path("m.mar"), run_dir=run_dir)
    assert changes(served) == ["POST /models"] + ["DELETE /models/m/2.0"] * left_behind


def test_a_scale_that_the_memory_has_no_room_for(
    run_dir: Path, served: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "memory", lambda: 2_000_000_000)
    with pytest.raises(CommandError, match="TorchServe with 9 workers takes 3820 MB"):
        models.scale("m", 8, run_dir=run_dir)  # two versions have a worker each
    assert changes(served) == []
