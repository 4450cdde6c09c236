"""The commands that a person types, against the running server: in this process where a new one proves no more."""

from __future__ import annotations

import csv
import functools
import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import requests

from densenet_serving import paths, properties
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.served import CHOOSE
from densenet_serving.options import MODEL, STAND_IN
from tests.e2e.support import command, command_here
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


@pytest.fixture(scope="module")
def website(album: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's own word
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=album)) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()
        thread.join()


@pytest.fixture
def classify(run_dir: Path) -> Any:
    """Run `densenet classify` with the stand-in, whose answers can be checked."""
    return functools.partial(command_here, "classify", "--run-dir", run_dir, "--model", STAND_IN)


def rows(done: CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_one_sentence(done: CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    for part in parts:
        assert part in done.stderr


def test_a_file(classify: Any, album: Path) -> None:
    done = classify(album / "cat.jpg")

    (row,) = rows(done)
    assert (done.returncode, done.stderr) == (0, "")
    assert row["image"] == str(album / "cat.jpg")
    assert row["class_name"] in CAT


def test_several_sources_keep_their_order(run_dir: Path, album: Path, website: str, photos: dict[str, bytes]) -> None:
    """A folder recursively, a pattern, an address and standard input, given to a process of its own."""
    names: list[str | Path] = [album, paths.ROOT / "docs" / "c?ffee.jpg", f"{website}/far/away/cup.JPG", "-"]

    arguments = ["--json", *names, "--run-dir", run_dir, "--model", STAND_IN]
    done = command("classify", *arguments, stdin=photos["rocket"])

    assert done.returncode == 0, done.stderr
    cat, cup, sample, web, stdin = rows(done)
    assert (cat["image"], cup["image"]) == (str(album / "cat.jpg"), str(album / "far" / "away" / "cup.JPG"))
    assert cat["class_name"] in CAT
    assert cup["class_name"] in FITTING["coffee"]
    assert sample["class_name"] == SAMPLE_NAME
    assert (web["image"], web["class_name"]) == (names[2], cup["class_name"])
    assert stdin["image"] == "-"
    assert stdin["class_name"] in FITTING["rocket"]


def test_csv_has_one_row_a_prediction(classify: Any, album: Path) -> None:
    done = classify("--csv", "--top-k", "3", album / "cat.jpg", album / "notes.txt")

    header, *lines = csv.reader(done.stdout.splitlines())
    assert header == ["image", "rank", "class_id", "class_name", "probability", "recognized", "error"]
    assert [line[1] for line in lines] == ["1", "2", "3", ""]
    assert lines[0][3] in CAT
    assert float(lines[0][4]) >= float(lines[1][4]) >= float(lines[2][4])
    assert "not an image" in lines[3][6]
    assert done.returncode == 1


def test_parameters_reach_the_model(classify: Any, album: Path) -> None:
    (row,) = rows(classify("--top-k", "2", "--min-probability", "0.99", album / "cat.jpg"))

    assert (row["recognized"], row["class_name"]) == (False, None)
    assert len(row["predictions"]) == 2


def test_densenet_is_the_model_that_answers_unless_another_is_named(run_dir: Path, album: Path) -> None:
    (row,) = rows(command_here("classify", album / "cat.jpg", "--run-dir", run_dir))

    assert row["recognized"] is False
    assert 0 < row["probability"] < 0.01


def test_a_bad_file_fails_alone(classify: Any, album: Path) -> None:
    empty = album.parent / "empty.jpg"
    empty.write_bytes(b"")

    done = classify(
        album / "notes.txt", empty, album.parent / "missing.jpg", "http://127.0.0.1:1/x.jpg", album / "cat.jpg"
    )

    text, nothing, missing, nowhere, cat = rows(done)
    assert done.returncode == 1
    assert text["error"]["code"] == 415
    assert nothing["error"]["code"] == 400
    assert "cannot be read" in missing["error"]["message"]
    assert "could not be fetched" in nowhere["error"]["message"]
    assert cat["class_name"] in CAT


def test_an_image_past_the_servers_limit_is_explained(classify: Any, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(33_554_433))

    (row,) = rows(classify(large))

    assert "is larger than 33,554,432 bytes" in row["error"]["message"]


def test_a_folder_or_pattern_without_images_fails_in_its_own_row(classify: Any, album: Path, tmp_path: Path) -> None:
    done = classify(tmp_path, tmp_path / "*.jpg", album / "cat.jpg")

    assert done.returncode == 1
    folder, pattern, cat = rows(done)
    assert "holds no image" in folder["error"]["message"]
    assert "cannot be read" in pattern["error"]["message"]
    assert "error" not in cat


def test_an_unknown_model(run_dir: Path, album: Path) -> None:
    done = command_here("classify", album / "cat.jpg", "--model", "nobody", "--run-dir", run_dir)

    assert done.returncode == 1
    assert rows(done)[0]["error"]["message"] == f"Model not found: nobody. {CHOOSE}"


def test_a_refused_token(classify: Any, album: Path) -> None:
    done = classify("--token", "wrong", album / "cat.jpg")

    assert done.returncode == 1
    assert "refused the token that was sent: densenet token prints one" in rows(done)[0]["error"]["message"]


def test_a_server_that_is_down(run_dir: Path, album: Path, tmp_path: Path) -> None:
    """As after a power cut: the run folder still names a server, and nobody answers there."""
    values = properties.read(run_dir / "config.properties")
    values |= dict.fromkeys(("inference_address", "management_address"), "http://127.0.0.1:9")
    properties.write(tmp_path / "config.properties", "Made by a test.", values)
    (tmp_path / "key_file.json").write_bytes((run_dir / "key_file.json").read_bytes())

    done = command_here("classify", album / "cat.jpg", "--run-dir", tmp_path)

    assert_one_sentence(done, "No server answers at http://127.0.0.1:9", "densenet serve")
    assert_one_sentence(command_here("models", "list", "--run-dir", tmp_path), "No server answers")


def test_token_prints_one_that_opens_the_door(run_dir: Path, photos: dict[str, bytes]) -> None:
    densenet = Path(sys.executable).with_name("densenet")
    done = subprocess.run(
        [densenet, "token", "--run-dir", run_dir], capture_output=True, text=True, timeout=30, check=True
    )
    headers = {"Authorization": f"Bearer {done.stdout.strip()}"}
    url = f"{Endpoint.find(run_dir).inference}/predictions/{MODEL}"

    assert requests.put(url, data=photos["chelsea"], headers=headers).status_code == 200


def test_an_unknown_scope_of_a_token(run_dir: Path) -> None:
    assert_one_sentence(command_here("token", "root", "--run-dir", run_dir), "choose inference or management")
