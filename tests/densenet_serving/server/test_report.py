from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from densenet_serving import paths
from densenet_serving.build.archives import BuildCommand
from densenet_serving.errors import ApiError
from densenet_serving.files import digest_file
from densenet_serving.server import report
from densenet_serving.server.report import (
    warn_if_another_answers,
    warn_if_exposed,
    warn_if_not_loaded,
    warn_of_archives,
)
from densenet_serving.server.torchserve import Server
from tests.densenet_serving.conftest import write_settings
from tests.densenet_serving.fake_client import ANSWER, FakeClient, as_client


@pytest.mark.parametrize(
    ("models", "asked"), [(["efficientnet_lite0", "densenet121"], "densenet121"), (["b", "a"], "b")]
)
def test_the_model_that_classifies_the_sample(models: list[str], asked: str) -> None:
    assert report.classify_sample(as_client(dict.fromkeys(models, ""))) == (asked, ANSWER)


def test_weights_that_are_not_the_official_ones_say_how_good_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "60.0 % top-5 on eval.tar" in str(report.notice_of(as_client({}), "densenet121"))
    assert report.notice_of(as_client({}), "mine") is None

    def refuse(*_: object) -> None:
        raise ApiError("m is loaded, but has no card.", {"code": 400})

    monkeypatch.setattr(FakeClient, "describe", refuse)
    assert report.notice_of(as_client({}), "m") == "m is loaded, but has no card."


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ANSWER, "p.jpg is tabby (88%)"),
        (ANSWER | {"class_name": None}, "p.jpg is not recognized (88%)"),
        ({"tabby": 0.6, "tiger_cat": 0.3}, 'p.jpg: {"tabby": 0.6, "tiger_cat": 0.3}'),
        (["tabby"], 'p.jpg: ["tabby"]'),
        ({"class_name": "tabby"}, 'p.jpg: {"class_name": "tabby"}'),
        ([0.1] * 1000, "p.jpg: " + "[" + "0.1, " * 38 + "[...]"),
    ],
)
def test_the_answers_of_any_handler_are_shown(answer: object, said: str) -> None:
    assert report.in_words("p.jpg", answer) == said


OWN = {"model": "flowers", "weights": "/my flowers.pth", "version": "2.0"}
NO_COMMAND = "densenet archive, with the --model"


@pytest.mark.parametrize(
    ("age", "built", "digest", "said"),
    [
        (-60, None, True, []),
        (-60, None, False, ["sha256sum m.mar > m.mar.sha256"]),
        (60, None, True, [NO_COMMAND]),
        (60, OWN, False, ["--weights '/my flowers.pth'", "sha256sum"]),
    ],
)
def test_archives_that_are_stale_or_unchecked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], age: int, built: Any, digest: bool, said: list[str]
) -> None:
    newest = max(path.stat().st_mtime for path in (*paths.handler_files(), paths.LABELS))
    (path := tmp_path / "m.mar").touch()
    os.utime(path, (newest - age, newest - age))
    if digest:
        digest_file(path).touch()
    if built:
        BuildCommand.of(built, stand_in=False).write(path)
    warn_of_archives([path])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(said)
    assert all("m.mar" in line and part in line for line, part in zip(lines, said, strict=True))


def test_an_archive_the_server_has_not_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    warn_if_not_loaded(as_client({"a": "a.mar"}), [Path("a.mar"), Path("b.mar")])
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("b.mar ")


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_predictions_for_other_machines(running: Server, capsys: pytest.CaptureFixture[str], address: str) -> None:
    write_settings(running.endpoint, inference_address=f"http://{address}:8080", enable_model_api="true")
    warn_if_exposed(running)
    assert ("--fixed-models" in capsys.readouterr().err) == (address != "127.0.0.1")


@pytest.mark.parametrize(
    ("loaded", "takes_models", "here", "said"),
    [
        (["1.0"], True, True, "flowers 1.0: type densenet models upgrade flowers-2.0.mar --run-dir "),
        (["2.0"], True, True, "flowers 2.0: type densenet stop --run-dir "),
        (["1.0"], False, True, "flowers 1.0: type densenet stop --run-dir "),
        ([], True, True, "flowers: type densenet models register flowers-2.0.mar"),
        (["1.0"], True, False, "--model-store"),
    ],
)
def test_an_archive_built_beside_a_running_server(
    running: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    loaded: list[str],
    takes_models: bool,
    here: bool,
    said: str,
) -> None:
    folder = running.endpoint.folder
    write_settings(running.endpoint, model_store=str(folder / "store"), enable_model_api=str(takes_models).lower())
    client = SimpleNamespace(versions=lambda _: [{"modelVersion": version} for version in loaded])
    monkeypatch.setattr(report, "Client", lambda _: client)
    archive = folder / ("store" if here else "other") / "flowers-2.0.mar"
    warn_if_another_answers(folder, archive, "flowers", "2.0")
    assert said in capsys.readouterr().err
    warn_if_another_answers(folder / "without a server", archive, "flowers", "2.0")
    assert capsys.readouterr().err == ""
