from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from scripts import archive, paths, properties, serve
from scripts.archives.integrity import digest_file
from scripts.client.endpoint import Endpoint
from scripts.client.http import Client
from scripts.errors import CommandError, NoWeights
from scripts.server import torchserve
from scripts.server.torchserve import Server
from scripts.server.upgrade import Upgrade

ANSWER = {"class_name": "tabby", "probability": 0.876}


class FakeClient:
    def __init__(self, models: dict[str, str]) -> None:
        self._models = models

    def models(self) -> dict[str, str]:
        return self._models

    def predict(self, model: str, image: bytes) -> dict[str, Any]:
        assert image == paths.SAMPLE_PHOTO.read_bytes()
        return ANSWER

    def describe(self, model: str) -> dict[str, Any]:
        accuracy = {"top1": 0.4, "top5": 0.6, "evaluated_on": "eval.tar"} if model == "densenet121" else None
        weights = {"source": "a student", "sha256": "ab", "license": "MIT", "accuracy": accuracy}
        return {"modelName": model, "customizedMetadata": {"weights": weights}}


def as_client(models: dict[str, str]) -> Client:
    return cast(Client, FakeClient(models))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models whose archives were asked for; DenseNet's weights are nowhere."""
    asked: list[str] = []

    def build(model: str, model_store: Path) -> None:
        asked.append(model)
        if model == "densenet121":
            raise NoWeights([("weights/", "empty [/]")], "Put them there.")
        (model_store / f"{model}.mar").touch()

    monkeypatch.setattr(archive, "archive", build)
    return asked


def test_without_weights_the_stand_in_answers_and_says_so(
    built: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    serve.build_missing_archive(tmp_path)
    said = capsys.readouterr().err
    assert built == ["densenet121", "efficientnet_lite0"]
    assert "No DenseNet-121 weights were found. Tried weights/: empty [/]. Put them there." in said
    assert "the stand-in EfficientNet-Lite0 answers" in said


def test_an_archive_that_is_there_is_taken(built: list[str], tmp_path: Path) -> None:
    (tmp_path / "any.mar").touch()
    serve.build_missing_archive(tmp_path)
    assert built == []


def test_an_archive_that_an_upgrade_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("m.mar", "m-2.0.mar"):
        (tmp_path / name).touch()
    Upgrade(serving="m-2.0.mar", replaced="m.mar").record("m", tmp_path)
    assert [path.name for path in serve.archives_to_serve(tmp_path, tmp_path)] == ["m-2.0.mar"]
    assert "m.mar is not loaded: an upgrade replaced it" in capsys.readouterr().err


@pytest.mark.parametrize(("age", "warned"), [(1, True), (-60, False)])
def test_an_archive_older_than_the_handler(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], age: int, warned: bool
) -> None:
    newest = max(path.stat().st_mtime for path in paths.handler_files())
    newest = max(newest, paths.LABELS.stat().st_mtime)
    path = tmp_path / "m.mar"
    path.touch()
    os.utime(path, (newest - age, newest - age))
    serve.warn_if_stale([path])
    assert ("m.mar is older than the handler" in capsys.readouterr().err) == warned


@pytest.mark.parametrize("pinned", [True, False])
def test_an_archive_without_a_digest(tmp_path: Path, capsys: pytest.CaptureFixture[str], pinned: bool) -> None:
    path = tmp_path / "m.mar"
    path.touch()
    if pinned:
        digest_file(path).touch()
    serve.warn_if_unpinned([path])
    assert ("sha256sum m.mar > m.mar.sha256 pins it" in capsys.readouterr().err) != pinned


def test_an_archive_the_server_has_not_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    serve.warn_if_not_loaded(as_client({"a": "a.mar"}), [Path("a.mar"), Path("b.mar")])
    said = capsys.readouterr().err
    assert "b.mar is not loaded: densenet stop and densenet serve load it" in said
    assert "a.mar is" not in said


@pytest.mark.parametrize(
    ("models", "asked"), [(["efficientnet_lite0", "densenet121"], "densenet121"), (["b", "a"], "b")]
)
def test_the_model_that_proves_the_road(models: list[str], asked: str) -> None:
    assert serve.classify_sample(as_client(dict.fromkeys(models, ""))) == (asked, ANSWER)


@pytest.fixture
def fake(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server(os.getpid(), 0.0, endpoint.folder / "temporary", endpoint)
    properties.write(made.settings, "Made by a test.", {"enable_model_api": "true"})
    monkeypatch.setattr(serve, "Client", lambda _: as_client({"efficientnet_lite0": "m.mar"}))
    monkeypatch.setattr(torchserve, "start", lambda *_: made)
    monkeypatch.setattr(serve, "wait_until_ready", lambda *_: None)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "m.mar").touch()
    return folder


def test_serve_reports_what_a_person_needs_next(
    fake: Server, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "find", lambda _: None)
    serve.serve(model_store=store, run_dir=fake.endpoint.folder)
    said = capsys.readouterr().out
    assert "coffee.jpg is tabby (88%)" in said
    assert f"{fake.endpoint.inference}/predictions/efficientnet_lite0" in said
    assert "the stand-in answers" in said
    assert f"stop --run-dir {fake.endpoint.folder}" in said


@pytest.mark.parametrize(("model", "said"), [("densenet121", True), ("mine", False)])
def test_serve_says_how_good_weights_are_that_are_not_the_official_ones(
    fake: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, model: str, said: bool
) -> None:
    monkeypatch.setattr(serve, "Client", lambda _: as_client({model: "m.mar"}))
    serve.report(fake, model, ANSWER)
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note ")]
    assert len(notes) == said
    assert all("The weights are a student: 40.0 % top-1 and 60.0 % top-5 on eval.tar" in line for line in notes)


def test_a_second_serve_asks_the_running_server(
    fake: Server, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "find", lambda _: fake)
    monkeypatch.delattr(torchserve, "start")
    serve.serve(model_store=store, run_dir=fake.endpoint.folder)
    captured = capsys.readouterr()
    assert f"Already running (pid {fake.pid})." in captured.err
    assert "is tabby" in captured.out


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_predictions_for_other_machines_are_warned_of(
    fake: Server, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    settings = {"inference_address": f"http://{address}:8080", "enable_model_api": "true"}
    properties.write(fake.settings, "Made by a test.", settings)
    monkeypatch.setattr(Server, "find", lambda _: None)
    serve.serve(model_store=store, run_dir=fake.endpoint.folder)
    assert ("is open to other machines" in capsys.readouterr().err) == (address != "127.0.0.1")


@pytest.mark.parametrize("fixed", [True, False])
def test_a_running_server_keeps_its_settings(
    fake: Server, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fixed: bool
) -> None:
    monkeypatch.setattr(Server, "find", lambda _: fake)
    serve.serve(model_store=store, run_dir=fake.endpoint.folder, fixed_models=fixed)
    assert ("keeps the settings it was started with" in capsys.readouterr().err) == fixed


def test_options_become_torchserves_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert serve.changes_of(False, None, None) == {}
    assert serve.changes_of(True, Path("a.pem"), Path("/a.key")) == {
        "enable_model_api": "false",
        "certificate_file": str(tmp_path / "a.pem"),
        "private_key_file": "/a.key",
    }


@pytest.mark.parametrize("failure", [CommandError("No."), KeyboardInterrupt()])
def test_a_server_that_cannot_answer_is_not_left_behind(
    fake: Server, store: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise failure

    stopped: list[Server] = []
    monkeypatch.setattr(Server, "find", lambda _: None)
    monkeypatch.setattr(Server, "stop", lambda self: stopped.append(self))
    monkeypatch.setattr(serve, "wait_until_ready", fail)
    with pytest.raises(type(failure)):
        serve.serve(model_store=store, run_dir=fake.endpoint.folder)
    assert stopped == [fake]


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Give the test run its own signal handlers back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_sigterm_while_starting_leaves_nothing(fake: Server, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[Server] = []
    monkeypatch.setattr(Server, "find", lambda _: None)
    monkeypatch.setattr(Server, "stop", lambda self: stopped.append(self))
    monkeypatch.setattr(serve, "wait_until_ready", lambda *_: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as caught:
        serve.serve(model_store=store, run_dir=fake.endpoint.folder)
    assert caught.value.code == 128 + signal.SIGTERM
    assert stopped == [fake]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_in_the_foreground_a_signal_stops_the_server(
    fake: Server, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    stopped: list[tuple[Server, float]] = []
    monkeypatch.setattr(serve, "stop_gently", lambda *arguments: stopped.append(arguments))

    def process(_: Server) -> bool:
        signal.raise_signal(number)
        return True

    monkeypatch.setattr(Server, "process", process)
    serve.supervise(fake, 5)
    assert stopped == [(fake, 5)]


def test_in_the_foreground_the_end_of_torchserve_is_a_failure(fake: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[Server] = []
    monkeypatch.setattr(serve, "POLL_SECONDS", 0)
    monkeypatch.setattr(Server, "process", lambda _: None)
    monkeypatch.setattr(Server, "stop", lambda self: stopped.append(self))
    with pytest.raises(CommandError, match=r"TorchServe ended by itself: .*logs tells more"):
        serve.supervise(fake, 5)
    assert stopped == [fake]


def test_the_foreground_is_for_a_server_of_its_own(fake: Server, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "find", lambda _: fake)
    with pytest.raises(CommandError, match=f"A server runs already .pid {fake.pid}.: end it"):
        serve.serve(model_store=store, run_dir=fake.endpoint.folder, foreground=True)


def test_the_command_is_named_as_the_shell_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/bin/densenet")
    assert serve.console_script() == "densenet"
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert serve.console_script().endswith("/densenet")


def test_paths_are_shown_from_where_the_reader_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert serve.relative(tmp_path / "a" / "b") == "a/b"
    assert serve.relative(Path("/elsewhere")) == "/elsewhere"


def test_json_logs_are_one_more_argument_of_the_jvm(tmp_path: Path) -> None:
    given = properties.read(paths.SERVER_CONFIG)["vmargs"]
    assert serve.json_lines(paths.SERVER_CONFIG) == {"vmargs": f"{given} -Dlog.format=json"}
    (tmp_path / "empty").touch()
    assert serve.json_lines(tmp_path / "empty") == {"vmargs": "-Dlog.format=json"}
    assert "${sys:log.format:-text}" in paths.LOG_CONFIG.read_text()
