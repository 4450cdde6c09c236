"""The commands that a person types, against the running server: in this process where a new one proves no more."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import requests

from densenet_serving import paths, properties
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.options import MODEL, STAND_IN
from tests.e2e.support import assert_refused, command, command_here, succeed
from tests.local_server import LocalServer, Reply
from tests.pictures import FITTING, SAMPLE_NAME

CAT = FITTING["chelsea"]


@pytest.fixture(scope="module")
def album(photos: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos, one of them in a folder below, and a text that is no image."""
    folder = tmp_path_factory.mktemp("album [2026]")  # brackets are also a pattern's and a markup's
    (folder / "far" / "away").mkdir(parents=True)
    (folder / "cat.jpg").write_bytes(photos["chelsea"])
    (folder / "far" / "away" / "cup.JPG").write_bytes(photos["coffee"])
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def classify(run_dir: Path) -> Any:
    """Run `densenet classify` with the stand-in, whose answers can be checked."""
    return functools.partial(command_here, "classify", "--run-dir", run_dir, "--model", STAND_IN)


def rows(done: CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_several_sources_keep_their_order(
    run_dir: Path, album: Path, local: LocalServer, photos: dict[str, bytes]
) -> None:
    """A folder recursively, a pattern, an address and standard input, given to a process of its own."""
    local.on("GET /cup.jpg", Reply(body=photos["coffee"]))
    names: list[str | Path] = [album, paths.ROOT / "docs" / "c?ffee.jpg", f"{local.url}/cup.jpg", "-"]

    arguments = ["--json", *names, "--run-dir", run_dir, "--model", STAND_IN]
    done = command("classify", *arguments, stdin=photos["rocket"])

    assert done.returncode == 0, done.stderr
    assert "notes.txt" in done.stderr  # left out, as its name is no image's
    cat, cup, sample, web, stdin = rows(done)
    assert (cat["image"], cup["image"]) == (str(album / "cat.jpg"), str(album / "far" / "away" / "cup.JPG"))
    assert cat["class_name"] in CAT
    assert cup["class_name"] in FITTING["coffee"]
    assert sample["class_name"] == SAMPLE_NAME
    assert (web["image"], web["class_name"]) == (names[2], cup["class_name"])
    assert stdin["image"] == "-"
    assert stdin["class_name"] in FITTING["rocket"]


def test_densenet_is_the_model_that_answers_unless_another_is_named(run_dir: Path, album: Path) -> None:
    (row,) = rows(command_here("classify", album / "cat.jpg", "--run-dir", run_dir))

    assert row["recognized"] is False
    assert 0 < row["probability"] < 0.01


def test_each_bad_source_fails_alone(classify: Any, album: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "large.jpg").write_bytes(bytes(33_554_433))  # past what the server takes
    bad = {
        album / "notes.txt": "JPEG",
        tmp_path / "empty.jpg": "0 bytes",
        tmp_path / "large.jpg": "33,554,432",
        tmp_path / "missing.jpg": "read",
        "http://127.0.0.1:1/x.jpg": "fetched",
        album / "far": "",  # a good one between them
        tmp_path / "*.png": "read",
    }

    done = classify(*bad)

    assert done.returncode == 1
    for row, fact in zip(rows(done), bad.values(), strict=True):
        assert fact in row["error"]["message"] if fact else row["class_name"] in FITTING["coffee"]


@pytest.mark.parametrize("option", [("--model", "nobody"), ("--token", "wrong")])
def test_what_the_server_refuses(classify: Any, album: Path, option: tuple[str, str]) -> None:
    done = classify(album / "cat.jpg", *option)

    assert done.returncode == 1
    assert option[1] in rows(done)[0]["error"]["message"] or "densenet token" in rows(done)[0]["error"]["message"]


def test_a_server_that_is_down(run_dir: Path, album: Path, tmp_path: Path) -> None:
    """As after a power cut: the run folder still names a server, and nobody answers there."""
    values = properties.read(run_dir / "config.properties")
    values |= dict.fromkeys(("inference_address", "management_address"), "http://127.0.0.1:9")
    properties.write(tmp_path / "config.properties", "Made by a test.", values)
    (tmp_path / "key_file.json").write_bytes((run_dir / "key_file.json").read_bytes())

    for arguments in (("classify", album / "cat.jpg"), ("models", "list")):
        assert_refused(command_here(*arguments, "--run-dir", tmp_path), "http://127.0.0.1:9", "densenet serve")


def test_token_prints_one_that_the_server_accepts(run_dir: Path, photos: dict[str, bytes]) -> None:
    densenet = Path(sys.executable).with_name("densenet")
    arguments: list[str | Path] = [densenet, "token", "--run-dir", run_dir]
    token = succeed(subprocess.run(arguments, capture_output=True, text=True, timeout=30)).strip()
    url = f"{Endpoint.find(run_dir).inference}/predictions/{MODEL}"

    assert requests.put(url, data=photos["chelsea"], headers={"Authorization": f"Bearer {token}"}).status_code == 200
