from __future__ import annotations

import os
from pathlib import Path

import pytest

from densenet_serving import properties
from densenet_serving.errors import CommandError


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("-Xmx4g -Dkey=value", "-Xmx4g -Dkey=value"),
        ("/home/josé/my größe", r"/home/jos\u00e9/my gr\u00f6\u00dfe"),
        ("/photos 📷", r"/photos \ud83d\udcf7"),
        (r"C:\new", r"C:\\new"),
        ("two\nlines", r"two\u000alines"),
    ],
)
def test_what_is_written_is_ascii_and_read_again(tmp_path: Path, value: str, written: str) -> None:
    properties.write(tmp_path / "p", "Made in größe.", {"model_store": value, "vmargs": value.replace("\n", " ")})
    assert f"\nmodel_store={written}\n" in (tmp_path / "p").read_text()
    assert properties.read(tmp_path / "p") == {"model_store": value, "vmargs": value.replace("\n", " ")}


def test_a_folder_that_java_cannot_name_is_refused(tmp_path: Path) -> None:
    name = os.fsdecode(b"/caf\xe9")
    with pytest.raises(CommandError, match=r"model_store=/caf\\xe9 is not UTF-8, .*: rename that folder"):
        properties.write(tmp_path / "p", "", {"model_store": name})


@pytest.mark.parametrize(
    ("content", "values"),
    [
        ("model_store=/home/josé\n".encode(), {"model_store": "/home/josé"}),
        ("model_store=/home/josé\n".encode("latin-1"), {"model_store": "/home/josé"}),
        (b"# a=b\n\n  key = value  \nno pair\n#c=d\n", {"key": "value"}),
    ],
)
def test_settings_written_by_hand(tmp_path: Path, content: bytes, values: dict[str, str]) -> None:
    (tmp_path / "p").write_bytes(content)
    assert properties.read(tmp_path / "p") == values


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"none cannot be read \(No such file .*--config"):
        properties.read(tmp_path / "none")
