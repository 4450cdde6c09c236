from __future__ import annotations

import hashlib
import signal
import subprocess
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from densenet_serving import paths, properties
from densenet_serving.build.archives import BuildCommand, archives_in
from densenet_serving.build.build import ModelSpec
from densenet_serving.errors import CommandError, NoWeights
from densenet_serving.files import digest_file, digest_line, sha256_of
from densenet_serving.server import readiness, start, torchserve
from densenet_serving.server.processes import Identity
from densenet_serving.server.torchserve import Server
from densenet_serving.server.upgrade import Upgrade
from tests.densenet_serving.build.archive_files import write_archive
from tests.densenet_serving.conftest import write_keys
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


def test_without_weights_the_stand_in_answers_and_says_so(
    built: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start.build_missing_archive(tmp_path)
    said = capsys.readouterr().err
    assert built == ["densenet121", "efficientnet_lite0"]
    assert "No DenseNet-121 weights were found. Tried weights/: empty [/]. Put them there." in said
    assert "the stand-in EfficientNet-Lite0 answers" in said


def test_an_archive_that_is_there_is_taken(built: list[str], tmp_path: Path) -> None:
    (tmp_path / "any.mar").touch()
    start.build_missing_archive(tmp_path)
    assert built == []


def test_an_archive_that_an_upgrade_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("m.mar", "m-2.0.mar"):
        (tmp_path / name).touch()
    Upgrade(serving="m-2.0.mar", replaced="m.mar").record("m", tmp_path)
    assert [path.name for path in start.archives_to_serve(tmp_path, tmp_path)] == ["m-2.0.mar"]
    assert "m.mar is not loaded: an upgrade replaced it" in capsys.readouterr().err


def test_the_stand_in_makes_way_for_a_model(
    built: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start.build_missing_archive(tmp_path)
    assert [path.name for path in start.archives_to_serve(tmp_path, tmp_path)] == ["efficientnet_lite0.mar"]
    (tmp_path / "flowers.mar").touch()
    capsys.readouterr()
    assert [path.name for path in start.archives_to_serve(tmp_path, tmp_path)] == ["flowers.mar"]
    said = capsys.readouterr().err
    assert "efficientnet_lite0.mar is not loaded: it stood in while there was no other model." in said
    assert "To serve it too: densenet archive --model efficientnet_lite0" in said


def test_a_stand_in_that_a_person_built_stays(tmp_path: Path) -> None:
    for name in ("efficientnet_lite0.mar", "flowers.mar"):
        (tmp_path / name).touch()
        BuildCommand([]).write(tmp_path / name)
    assert len(start.archives_to_serve(tmp_path, tmp_path)) == 2


def test_a_second_serve_asks_the_running_server(
    answering: Server, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "find", lambda _: answering)
    monkeypatch.delattr(torchserve, "start")
    start.start_or_find(answering.endpoint.folder, store, paths.SERVER_CONFIG)
    captured = capsys.readouterr()
    assert f"Already running (pid {answering.pid})." in captured.err
    assert "is tabby" in captured.out


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_predictions_for_other_machines_are_warned_of(
    answering: Server, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    settings = {"inference_address": f"http://{address}:8080", "enable_model_api": "true"}
    properties.write(answering.settings, "Made by a test.", settings)
    monkeypatch.setattr(Server, "find", lambda _: None)
    start.start_or_find(answering.endpoint.folder, store, paths.SERVER_CONFIG)
    assert ("is open to other machines" in capsys.readouterr().err) == (address != "127.0.0.1")


@pytest.mark.parametrize("failure", [CommandError("No."), KeyboardInterrupt()])
def test_a_server_that_cannot_answer_is_not_left_behind(
    answering: Server, store: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise failure

    killed: list[Server] = []
    monkeypatch.setattr(Server, "find", lambda _: None)
    monkeypatch.setattr(Server, "kill", lambda self: killed.append(self))
    monkeypatch.setattr(start, "wait_until_ready", fail)
    with pytest.raises(type(failure)):
        start.start_or_find(answering.endpoint.folder, store, paths.SERVER_CONFIG)
    assert killed == [answering]


def test_settings_that_are_not_there_are_told_before_an_archive_is_built(built: list[str], tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none\.properties cannot be read .*: name TorchServe's settings"):
        start.start_or_find(tmp_path, tmp_path, tmp_path / "none.properties")
    assert built == []


def test_sigterm_while_starting_leaves_nothing(answering: Server, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[Server] = []
    monkeypatch.setattr(Server, "find", lambda _: None)
    monkeypatch.setattr(Server, "kill", lambda self: killed.append(self))
    monkeypatch.setattr(start, "wait_until_ready", lambda *_: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as caught:
        start.start_or_find(answering.endpoint.folder, store, paths.SERVER_CONFIG)
    assert caught.value.code == 128 + signal.SIGTERM
    assert killed == [answering]


def test_sigterm_before_java_runs_leaves_nothing(
    answering: Server, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Server:
        signal.raise_signal(signal.SIGTERM)
        return answering

    killed: list[Server] = []
    monkeypatch.setattr(Server, "find", lambda _: None)
    monkeypatch.setattr(Server, "kill", lambda self: killed.append(self))
    monkeypatch.setattr(torchserve, "start", interrupted)
    with pytest.raises(SystemExit):
        start.start_or_find(answering.endpoint.folder, store, paths.SERVER_CONFIG)
    assert killed == [answering]


@pytest.mark.parametrize("digest", [True, False])
def test_a_start_reads_each_archive_once(
    store: Path, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, digest: bool
) -> None:
    """It verifies all of them, orders them by version, asks for their space and waits for each, from one reading."""
    write_archive(store / "m-2.0.mar", "2.0")
    archives = archives_in(store)
    if digest:
        for path in archives:
            digest_file(path).write_text(digest_line(sha256_of(path), path))
    opened: Counter[str] = Counter()
    hashed: Counter[str] = Counter()

    class CountingZipFile(zipfile.ZipFile):
        def __init__(self, file: Path, *arguments: Any, **options: Any) -> None:
            opened[file.name] += 1
            super().__init__(file, *arguments, **options)

    def counting_digest(file: BinaryIO, name: str) -> Any:
        hashed[Path(file.name).name] += 1
        return file_digest(file, name)  # type: ignore[arg-type]

    def launch(_config: Path, run_dir: Path, *_: object) -> Identity:
        write_keys(run_dir)
        return Identity.of(process.pid)

    file_digest = hashlib.file_digest
    monkeypatch.setattr(zipfile, "ZipFile", CountingZipFile)
    monkeypatch.setattr(hashlib, "file_digest", counting_digest)
    monkeypatch.setattr(torchserve, "launch", launch)
    monkeypatch.setattr(readiness, "is_ready", lambda *_: True)
    monkeypatch.setattr(start, "classify_sample", lambda _: ("m", ANSWER))
    monkeypatch.setattr(start, "report", lambda *_: None)
    started = start.start_or_find(tmp_path / "run", store, paths.SERVER_CONFIG, free_port_range())
    started.stop()
    once = {path.name: 1 for path in archives}
    assert opened == once
    assert hashed == (once if digest else {})
    assert properties.read(started.settings)["load_models"] == "m-2.0.mar,m.mar"


def test_a_changed_archive_starts_nothing(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "a.mar")
    digest_file(path).write_text(f"{'0' * 64}  a.mar\n")
    with pytest.raises(CommandError, match="was changed or damaged after it was built"):
        start.start_or_find(tmp_path / "run", tmp_path, paths.SERVER_CONFIG)
    assert not (tmp_path / "run").exists()


def test_a_damaged_archive_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "m.mar").write_bytes(b"PK half of it")
    with pytest.raises(CommandError, match=r"m\.mar is not a model archive, or damaged"):
        start.start_or_find(tmp_path / "run", tmp_path, paths.SERVER_CONFIG)
    assert not (tmp_path / "run").exists()
