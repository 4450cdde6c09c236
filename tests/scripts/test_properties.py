from __future__ import annotations

from pathlib import Path

import pytest

from scripts import paths, properties
from scripts.errors import CommandError


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    values = {"inference_address": "http://127.0.0.1:8080", "vmargs": "-Xmx4g -Dkey=value"}
    properties.write(tmp_path / "config.properties", "Made by a test.", values)
    assert (tmp_path / "config.properties").read_text().startswith("# Made by a test.\n")
    assert properties.read(tmp_path / "config.properties") == values


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
