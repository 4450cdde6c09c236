from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from densenet_serving.cli import classify as module
from densenet_serving.cli.classify import (
    Row,
    classify,
    classify_all,
    row_of,
    with_progress,
    write_csv,
    write_json,
    write_table,
)
from densenet_serving.cli.main import app
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.console import CONTROL
from densenet_serving.errors import ApiError, CommandError
from tests.local_server import LocalServer, as_json

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


class FakeClient:
    def __init__(self, served: dict[str, str] | None = None) -> None:
        self.served = {"densenet121": "densenet121.mar"} if served is None else served
        self.sent: list[tuple[str, bytes, dict[str, Any]]] = []

    def models(self) -> dict[str, str]:
        return self.served

    def predict(self, model: str, image: bytes, parameters: dict[str, Any]) -> dict[str, Any]:
        self.sent.append((model, image, parameters))
        if image == b"bad":
            raise ApiError("Damaged.", {"code": 400, "type": "BadRequestException", "message": "Damaged."})
        return {**CAT, "class_name": image.decode(), "recognized": True}


def as_client(fake: FakeClient) -> Client:
    return cast(Client, fake)


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert write_json(iter(ROWS)) == 1
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == ROWS


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(1)", "=cmd|' -C calc'!A0.jpg"])
def test_a_table_holds_no_formula(capsys: pytest.CaptureFixture[str], name: str) -> None:
    named = {**CAT, "image": name, "recognized": True, "class_id": name, "class_name": name}
    write_csv(iter([named, {"image": name, "error": {"message": name}}]))
    _, row, failed = csv.reader(io.StringIO(capsys.readouterr().out))
    assert row[0] == row[2] == row[3] == failed[0] == failed[6] == f"'{name}"


def test_csv(capsys: pytest.CaptureFixture[str]) -> None:
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


@pytest.mark.parametrize("write", [write_table, write_csv, write_json])
def test_names_from_elsewhere_do_nothing_to_the_terminal(
    write: Callable[[Iterator[Row]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b[2J\x9b[bold]"
    prediction = {"class_id": hostile, "class_name": hostile, "probability": 0.9}
    rows: list[Row] = [
        {"image": hostile, **prediction, "recognized": True},
        {"image": "bad.jpg", "error": {"code": 415, "message": hostile}},
    ]
    assert write(iter(rows)) == 1
    assert not CONTROL.search(capsys.readouterr().out.replace("\r\n", "\n"))


@pytest.mark.parametrize(
    ("write", "said"), [(write_table, "caf\\xe9.jpg"), (write_csv, "caf\\xe9.jpg"), (write_json, "caf\\udce9.jpg")]
)
def test_a_name_that_is_not_utf_8_has_its_row(
    write: Callable[[Iterator[Row]], int], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    rows: list[Row] = [
        {"image": name, "error": {"message": f"{name} cannot be read."}},
        {"image": "z.jpg", **CAT, "recognized": True},
    ]
    assert write(iter(rows)) == 1
    out = capsys.readouterr().out
    assert out.encode()  # strictly
    assert said in out
    assert "z.jpg" in out


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    for name in ("a", "bad", "c"):
        (tmp_path / f"{name}.jpg").write_text(name)
    return [str(tmp_path / f"{name}.jpg") for name in ("a", "bad", "c", "missing")]


@pytest.mark.parametrize("concurrency", [1, 8])
def test_every_image_gets_a_row_in_the_order_given(photos: list[str], concurrency: int) -> None:
    fake = FakeClient()
    rows = list(classify_all(as_client(fake), "m", photos, {"top_k": 2}, concurrency))
    assert [row["image"] for row in rows] == photos
    assert [row.get("class_name") for row in rows] == ["a", None, "c", None]
    assert rows[1]["error"]["code"] == 400
    assert "cannot be read" in rows[3]["error"]["message"]
    assert all((model, parameters) == ("m", {"top_k": 2}) for model, _, parameters in fake.sent)


@pytest.mark.parametrize(("total", "terminal"), [(2, True), (9, True), (9, False)])
def test_progress_changes_no_row(monkeypatch: pytest.MonkeyPatch, total: int, terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=terminal)
    monkeypatch.setattr(module, "err", console)
    rows: Iterator[dict[str, Any]] = iter([{"image": str(i)} for i in range(total)])
    assert [row["image"] for row in with_progress(rows, total)] == [str(i) for i in range(total)]
    assert ("Classifying" in cast(io.StringIO, console.file).getvalue()) == (total > 3 and terminal)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    made = FakeClient()
    monkeypatch.setattr(module, "Client", lambda _endpoint, _token: made)
    monkeypatch.setattr(Endpoint, "find", lambda _run_dir: SimpleNamespace())
    return made


def test_the_command_writes_json_into_a_pipe(
    fake: FakeClient, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    classify([photos[0]], top_k=3, min_probability=0.5)
    assert json.loads(capsys.readouterr().out)["class_name"] == "a"
    assert fake.sent == [("densenet121", b"a", {"top_k": 3, "min_probability": 0.5})]


def test_the_command_ends_with_1_where_an_image_failed(
    fake: FakeClient, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught:
        classify(photos, as_csv=True)
    assert caught.value.exit_code == 1
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(photos)


def test_one_form_at_a_time(photos: list[str]) -> None:
    with pytest.raises(CommandError, match="exclude each other"):
        classify(photos, as_json=True, as_csv=True)


def test_files_that_are_left_out_are_named(
    fake: FakeClient, photos: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(photos[0]).parent
    (folder / "bad.jpg").unlink()
    for name in ("a.txt", "b.mov", "c", "d.pdf", "e.raw"):
        (folder / name).touch()
    classify([str(folder)])
    said = capsys.readouterr().err
    assert "Left out, since the names of images end in .avif, .bmp" in said
    assert "a.txt" in said
    assert "and 2 more." in said
    assert len(fake.sent) == 2


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
