from __future__ import annotations

import signal
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from densenet_serving import paths, properties
from densenet_serving.build.archives import BuildCommand, archives_in
from densenet_serving.build.build import ModelSpec
from densenet_serving.errors import CommandError, NoWeights
from densenet_serving.files import digest_file, digest_line, sha256_of
from densenet_serving.options import ServeOptions
from densenet_serving.server import processes, start, torchserve
from densenet_serving.server.start import archives_to_serve, start_or_find
from densenet_serving.server.torchserve import Server
from densenet_serving.server.upgrade import Upgrade
from tests.densenet_serving.build.archive_files import write_archive
from tests.densenet_serving.conftest import start_part
from tests.densenet_serving.fake_client import ANSWER
from tests.ports import free_port_range


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models whose archives were asked for; DenseNet's weights are nowhere."""
    asked: list[str] = []

    def build(spec: ModelSpec, model_store: Path, chosen: bool = True) -> None:
        asked.append(spec.model)
        if spec.model == "densenet121":
            raise NoWeights([("weights/", "empty [/]")], "Put them there.")
        (model_store / f"{spec.model}.mar").touch()
        BuildCommand(["--model", spec.model], stand_in=not chosen).write(model_store / f"{spec.model}.mar")

    monkeypatch.setattr(start, "build_model", build)
    return asked


def names_to_serve(folder: Path) -> list[str]:
    return [path.name for path in archives_to_serve(folder, folder)]


def test_without_weights_the_stand_in_answers_until_there_is_another_model(
    built: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start.build_missing_archive(tmp_path)
    start.build_missing_archive(tmp_path)
    said = capsys.readouterr().err
    assert built == ["densenet121", "efficientnet_lite0"]
    assert "weights/: empty [/]. Put them there." in said
    assert "EfficientNet-Lite0" in said
    assert names_to_serve(tmp_path) == ["efficientnet_lite0.mar"]

    (tmp_path / "flowers.mar").touch()
    assert names_to_serve(tmp_path) == ["flowers.mar"]
    said = capsys.readouterr().err
    assert said.startswith("efficientnet_lite0.mar ")
    assert "densenet archive --model efficientnet_lite0" in said


def test_a_stand_in_that_a_person_built_stays_and_what_an_upgrade_replaced_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("efficientnet_lite0.mar", "m.mar", "m-2.0.mar"):
        (tmp_path / name).touch()
        BuildCommand([]).write(tmp_path / name)
    Upgrade(serving="m-2.0.mar", replaced="m.mar").record("m", tmp_path)
    assert names_to_serve(tmp_path) == ["efficientnet_lite0.mar", "m-2.0.mar"]
    assert capsys.readouterr().err.startswith("m.mar ")


@pytest.fixture
def options(answering: Server, store: Path) -> ServeOptions:
    return ServeOptions(store, answering.endpoint.folder)


@pytest.mark.parametrize("fixed", [True, False])
def test_a_second_serve_asks_the_running_server(
    answering: Server, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fixed: bool
) -> None:
    monkeypatch.setattr(Server, "find", lambda _: answering)
    monkeypatch.delattr(torchserve, "start")
    options = ServeOptions(store, answering.endpoint.folder, fixed_models=fixed)
    assert start_or_find(options) == answering
    captured = capsys.readouterr()
    assert f"pid {answering.pid}" in captured.err
    assert ("keeps the settings" in captured.err) is fixed
    assert "is tabby" in captured.out
    with pytest.raises(CommandError, match=f"pid {answering.pid}.*densenet stop"):  # it needs a server of its own
        start_or_find(replace(options, foreground=True))


def fails(*_: object) -> None:
    raise CommandError("No.")


def is_interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def is_ended(*_: object) -> None:
    signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("happens", "raised"), [(fails, CommandError), (is_interrupted, KeyboardInterrupt), (is_ended, SystemExit)]
)
def test_a_server_that_cannot_answer_is_not_left_behind(
    answering: Server,
    options: ServeOptions,
    monkeypatch: pytest.MonkeyPatch,
    happens: Callable[..., None],
    raised: type[BaseException],
) -> None:
    monkeypatch.setattr(start, "wait_until_ready", happens)
    with pytest.raises(raised) as caught:
        start_or_find(options)
    assert not processes.runs(answering.process)
    assert not isinstance(caught.value, SystemExit) or caught.value.code == 128 + signal.SIGTERM


def test_sigterm_while_java_starts_leaves_nothing(
    answering: Server, options: ServeOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Server:
        is_ended()
        return answering

    monkeypatch.setattr(torchserve, "start", interrupted)
    with pytest.raises(SystemExit):
        start_or_find(options)
    assert not processes.runs(answering.process)


def test_a_start_reads_each_archive_once(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It verifies all of them, orders them by version, asks for their space and waits for each, from one reading."""
    write_archive(store / "m-2.0.mar", "2.0")
    for path in archives_in(store):
        digest_file(path).write_text(digest_line(sha256_of(path), path))
    read: Counter[str] = Counter()

    class CountingZipFile(zipfile.ZipFile):
        def __init__(self, file: Path, *arguments: Any, **options: Any) -> None:
            read[file.name] += 1
            super().__init__(file, *arguments, **options)

    monkeypatch.setattr(zipfile, "ZipFile", CountingZipFile)
    monkeypatch.setattr(torchserve, "launch", lambda _, run_dir, *__: start_part("TorchServe", run_dir))
    for name, result in {"wait_until_ready": None, "classify_sample": ("m", ANSWER), "report": None}.items():
        monkeypatch.setattr(start, name, lambda *_, result=result: result)
    started = start_or_find(ServeOptions(store, tmp_path / "run"), free_port_range())
    started.stop()
    assert read == {"m.mar": 1, "m-2.0.mar": 1}
    assert properties.read(started.settings)["load_models"] == "m-2.0.mar,m.mar"


def test_settings_that_are_not_there_are_refused_before_an_archive_is_built(built: list[str], tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none\.properties.*--config"):
        start_or_find(ServeOptions(tmp_path, tmp_path, tmp_path / "none.properties"))
    assert built == []


@pytest.mark.parametrize("changed", [True, False])
def test_an_archive_that_is_not_what_was_built_starts_nothing(tmp_path: Path, changed: bool) -> None:
    path = tmp_path / "a.mar"
    if changed:
        digest_file(write_archive(path)).write_text(f"{'0' * 64}  a.mar\n")
    else:
        path.write_bytes(b"PK half of it")
    with pytest.raises(CommandError, match=str(path)):
        start_or_find(ServeOptions(tmp_path, tmp_path / "run", paths.SERVER_CONFIG))
    assert not (tmp_path / "run").exists()
