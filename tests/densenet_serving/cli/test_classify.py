from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from densenet_serving.cli import classify as module
from densenet_serving.cli.classify import (
    Row,
    classify,
    row_of,
    with_progress,
    write_csv,
    write_json,
    write_table,
)
from densenet_serving.cli.main import app
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.console import CONTROL
from densenet_serving.errors import CommandError
from tests.densenet_serving.conftest import write_settings
from tests.local_server import Asked, LocalServer, Reply, as_json

CAT = {"class_id": "n1", "class_name": "Egyptian_cat", "probability": 0.9}
TABBY = {"class_id": "n2", "class_name": "tabby, [bold]", "probability": 0.08}
UNKNOWN = {"class_id": None, "class_name": None, "probability": 0.1}

ROWS: list[dict[str, Any]] = [
    {"image": "cat.jpg", **CAT, "recognized": True},
    {"image": "two [1].jpg", **CAT, "recognized": True, "predictions": [CAT, TABBY]},
    {"image": "fog.jpg", **UNKNOWN, "recognized": False},
    {"image": "mist.jpg", **UNKNOWN, "recognized": False, "predictions": [TABBY]},
    {"image": "none.jpg", **UNKNOWN, "recognized": False, "predictions": []},  # of a multi-label model
    {"image": "bad.jpg", "error": {"code": 400, "message": "Damaged [/]."}},
]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(1)", "=cmd|' -C calc'!A0.jpg"])
def test_a_table_holds_no_formula(capsys: pytest.CaptureFixture[str], name: str) -> None:
    named = {**CAT, "image": name, "recognized": True, "class_id": name, "class_name": name}
    write_csv(iter([named, {"image": name, "error": {"message": name}}]))
    _, row, failed = csv.reader(io.StringIO(capsys.readouterr().out))
    assert row[0] == row[2] == row[3] == failed[0] == failed[6] == f"'{name}"


def test_json_and_csv(capsys: pytest.CaptureFixture[str]) -> None:
    assert write_json(iter(ROWS)) == 1
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ROWS
    assert write_csv(iter(ROWS)) == 1
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows == [
        ["image", "rank", "class_id", "class_name", "probability", "recognized", "error"],
        ["cat.jpg", "1", "n1", "Egyptian_cat", "0.9", "true", ""],
        ["two [1].jpg", "1", "n1", "Egyptian_cat", "0.9", "true", ""],
        ["two [1].jpg", "2", "n2", "tabby, [bold]", "0.08", "true", ""],
        ["fog.jpg", "1", "", "", "0.1", "false", ""],
        ["mist.jpg", "1", "n2", "tabby, [bold]", "0.08", "false", ""],
        ["none.jpg", "1", "", "", "0.1", "false", ""],
        ["bad.jpg", "", "", "", "", "", "Damaged [/]."],
    ]


def test_table(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), width=100)
    monkeypatch.setattr(module, "out", console)
    assert write_table(iter(ROWS)) == 1
    lines = [line.rstrip() for line in cast(io.StringIO, console.file).getvalue().splitlines()]
    assert lines[0].split() == ["Image", "Class", "Id", "Probability"]
    assert lines[1].split() == ["cat.jpg", "Egyptian", "cat", "n1", "90.0%"]
    assert any("two [1].jpg" in line for line in lines)
    assert any("tabby, [bold]" in line and "8.0%" in line for line in lines)
    assert sum("not recognized" in line for line in lines) == 3
    assert any("bad.jpg" in line and "Damaged [/]." in line for line in lines)


@pytest.mark.parametrize("answer", [{"tabby": 0.7}, ["tabby", 0.7], "tabby"])
def test_the_answer_of_another_projects_handler_is_kept_whole(
    answer: object, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row_of("cat.jpg", answer)]
    for write in (write_table, write_csv, write_json):
        assert write(iter(rows)) == 0
        assert "tabby" in capsys.readouterr().out
    assert rows == [{"image": "cat.jpg", "answer": answer}]


HOSTILE = "\x1b[2J\x9b[bold]"
RAW = os.fsdecode(b"caf\xe9.jpg")


@pytest.mark.parametrize(
    ("write", "said"), [(write_table, "caf\\xe9.jpg"), (write_csv, "caf\\xe9.jpg"), (write_json, "caf\\udce9.jpg")]
)
def test_names_from_elsewhere_do_nothing_to_the_terminal(
    write: Callable[[Iterator[Row]], int], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither control characters nor bytes that are not UTF-8, and the rows after them are written too."""
    prediction = {"class_id": HOSTILE, "class_name": HOSTILE, "probability": 0.9}
    rows: list[Row] = [
        {"image": HOSTILE, **prediction, "recognized": True},
        {"image": RAW, "error": {"code": 415, "message": f"{RAW} {HOSTILE}"}},
        {"image": "z.jpg", **CAT, "recognized": True},
    ]
    assert write(iter(rows)) == 1
    out = capsys.readouterr().out
    assert not CONTROL.search(out.replace("\r\n", "\n"))
    assert out.encode()  # strictly
    assert said in out
    assert "z.jpg" in out


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "bad", "c"):
        (folder / f"{name}.jpg").write_text(name)
    return [str(folder / f"{name}.jpg") for name in ("a", "bad", "c", "missing")]


@pytest.fixture
def served(local: LocalServer, endpoint: Endpoint) -> LocalServer:
    """A server of densenet121 that `endpoint.folder` leads to. It calls a photo by its bytes and refuses bad ones."""

    def answer(asked: Asked) -> Reply:
        if asked.body == b"bad":
            return as_json({"code": 400, "type": "BadRequestException", "message": "Damaged."}, 400)
        return as_json({**CAT, "class_name": asked.body.decode(), "recognized": True})

    write_settings(endpoint)
    local.on("GET /models", as_json({"models": [{"modelName": "densenet121", "modelUrl": "densenet121.mar"}]}))
    local.on("POST /predictions/densenet121", answer)
    return local


@pytest.mark.parametrize("concurrency", [1, 8])
def test_every_image_gets_a_row_in_the_order_given(
    served: LocalServer, endpoint: Endpoint, photos: list[str], concurrency: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught:
        classify(photos, top_k=3, min_probability=0.5, concurrency=concurrency, run_dir=endpoint.folder)
    assert caught.value.exit_code == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["image"] for row in rows] == photos
    assert [row.get("class_name") for row in rows] == ["a", None, "c", None]
    assert rows[1]["error"]["code"] == 400
    assert photos[3] in rows[3]["error"]["message"]
    sent = [asked for asked in served.asked if asked.body]
    assert {(asked.headers["top-k"], asked.headers["min-probability"]) for asked in sent} == {("3", "0.5")}


@pytest.mark.parametrize(("total", "terminal"), [(2, True), (9, True), (9, False)])
def test_progress_changes_no_row(monkeypatch: pytest.MonkeyPatch, total: int, terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    monkeypatch.setattr(module, "err", console)
    rows: Iterator[dict[str, Any]] = iter([{"image": str(i)} for i in range(total)])
    assert [row["image"] for row in with_progress(rows, total)] == [str(i) for i in range(total)]
    assert ("Classifying" in cast(io.StringIO, console.file).getvalue()) == (total > 3 and terminal)


def test_files_that_are_left_out_are_named(
    served: LocalServer, endpoint: Endpoint, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(photos[0]).parent
    (folder / "bad.jpg").unlink()
    for name in ("a.txt", "b.mov", "c", "d.pdf", "e.raw"):
        (folder / name).touch()
    classify([str(folder)], as_csv=True, run_dir=endpoint.folder)
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 1 + 2
    for fact in (".avif, .bmp", "a.txt", "2 more"):
        assert fact in printed.err
    with pytest.raises(CommandError, match=r"--json .*--csv"):
        classify(photos, as_json=True, as_csv=True)


def test_ctrl_c_keeps_the_rows_that_are_finished(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows() -> Iterator[Row]:
        yield ROWS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_table(rows())
    printed = capsys.readouterr()
    assert "Egyptian cat" in printed.out
    assert "Interrupted: the images that are not in the table were not classified." in printed.err


def test_a_server_elsewhere_needs_no_run_folder(
    local: LocalServer, photos: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    local.on("POST /predict", as_json({**CAT, "recognized": True}))
    classify([photos[0]], url=local.url, key="secret", run_dir=tmp_path / "none")
    assert json.loads(capsys.readouterr().out)["class_name"] == CAT["class_name"]
    assert local.asked[0].headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("by_address", [True, False])
def test_a_token_by_hand_and_another_model_than_densenet121(
    local: LocalServer, endpoint: Endpoint, photos: list[str], monkeypatch: pytest.MonkeyPatch, by_address: bool
) -> None:
    """An inference token may not list models, so that densenet121 is asked."""
    monkeypatch.setattr(Endpoint, "find", lambda _run_dir: endpoint)
    refusal = {"code": 404, "type": "ModelNotFoundException", "message": "Model not found: densenet121"}
    for question in ("predictions", "explanations"):
        local.on(f"POST /{question}/densenet121", as_json(refusal, 404))
    where = ["--url", local.url] if by_address else []
    for command in (["classify", photos[0]], ["explain", photos[0], "-o", "no.png"]):
        result = CliRunner().invoke(app, [*command, "--token", "secret", *where])
        said = result.stdout or str(result.exception)
        assert result.exit_code == 1
        assert "Model not found: densenet121. Choose one that the server has with --model" in said


def test_secrets_and_the_address_come_from_variables(local: LocalServer, photos: list[str]) -> None:
    local.on("POST /predictions/flowers", as_json({**CAT, "recognized": True}))
    own = {"DENSENET_URL": local.url, "DENSENET_TOKEN": "secret"}
    result = CliRunner().invoke(app, ["classify", photos[0], "--model", "flowers"], env=own)
    assert result.exit_code == 0
    assert local.asked[0].headers["Authorization"] == "Bearer secret"
