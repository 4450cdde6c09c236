from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from densenet_serving.cli.main import app
from densenet_serving.errors import ServingError
from densenet_serving.gateway.keys import ApiKeys


def densenet(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, ["keys", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_add_list_revoke(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = densenet("add", "phone", "--run-dir", tmp_path).splitlines()[0]
    assert ApiKeys(tmp_path).name_of(key) == "phone"

    (listed,) = json.loads(densenet("list", "--run-dir", tmp_path))
    assert set(listed) == {"name", "created"}
    assert listed["name"] == "phone"

    densenet("revoke", "phone", "--run-dir", tmp_path)
    assert json.loads(densenet("list", "--run-dir", tmp_path)) == []
    assert ApiKeys(tmp_path).name_of(key) is None


def test_what_is_exported_opens_another_gateway(tmp_path: Path) -> None:
    key = ApiKeys(tmp_path / "here").add("phone")
    file = tmp_path / "keys.json"
    file.touch(0o600)
    file.write_text(densenet("export", "--run-dir", tmp_path / "here"))
    assert key not in file.read_text()
    assert ApiKeys(tmp_path / "there", file).name_of(key) == "phone"


def test_the_last_key_says_what_it_leaves_and_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    ApiKeys(tmp_path).add("phone")
    revoke = ["keys", "revoke", "phone", "--run-dir", str(tmp_path)]
    assert "the gateway stays closed" in CliRunner().invoke(app, revoke).output.replace("\n", " ")
    with pytest.raises(ServingError, match="no key named phone"):
        CliRunner().invoke(app, revoke, catch_exceptions=False)
