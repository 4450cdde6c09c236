from __future__ import annotations

import os
from pathlib import Path

import pytest

from densenet_serving import paths, properties
from densenet_serving.errors import CommandError


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    values = {"inference_address": "http://127.0.0.1:8080", "vmargs": "-Xmx4g -Dkey=value"}
    properties.write(tmp_path / "config.properties", "Made by a test.", values)
    assert (tmp_path / "config.properties").read_text().startswith("# Made by a test.\n")
    assert properties.read(tmp_path / "config.properties") == values


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("/home/josé/my größe", r"/home/jos\u00e9/my gr\u00f6\u00dfe"),
        ("/photos 📷", r"/photos \ud83d\udcf7"),
        (r"C:\new", r"C:\\new"),
        ("two\nlines", r"two\u000alines"),
    ],
)
def test_java_reads_ascii_alone(tmp_path: Path, value: str, written: str) -> None:
    properties.write(tmp_path / "p", "Made in größe.", {"model_store": value, "vmargs": value.replace("\n", " ")})
    assert f"\nmodel_store={written}\n" in (tmp_path / "p").read_text()
    assert properties.read(tmp_path / "p")["model_store"] == value
    assert properties.read(tmp_path / "p")["vmargs"] == value.replace("\n", " ")


def test_a_folder_that_java_cannot_name_is_refused(tmp_path: Path) -> None:
    name = os.fsdecode(b"/caf\xe9")
    with pytest.raises(CommandError, match=r"model_store=/caf\\xe9 is not UTF-8, .*: rename that folder"):
        properties.write(tmp_path / "p", "", {"model_store": name})


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_settings_written_by_hand(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "p").write_bytes("model_store=/home/josé\n".encode(encoding))
    assert properties.read(tmp_path / "p") == {"model_store": "/home/josé"}


def test_comments_blank_lines_and_spaces(tmp_path: Path) -> None:
    (tmp_path / "config.properties").write_text("# a=b\n\n  key = value  \nno pair\n#c=d\n")
    assert properties.read(tmp_path / "config.properties") == {"key": "value"}


def test_the_repositorys_own_settings() -> None:
    values = properties.read(paths.SERVER_CONFIG)
    assert values["inference_address"] == "http://127.0.0.1:8080"
    assert values["disable_token_authorization"] == "false"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none cannot be read \(No such file .*--config"):
        properties.read(tmp_path / "none")
