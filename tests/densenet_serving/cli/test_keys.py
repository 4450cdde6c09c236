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


def test_a_mistake_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="There is no key named phone"):
        densenet("revoke", "phone", "--run-dir", tmp_path)


def test_the_last_key_says_what_it_leaves(tmp_path: Path) -> None:
    ApiKeys(tmp_path).add("phone")
    result = CliRunner().invoke(app, ["keys", "revoke", "phone", "--run-dir", str(tmp_path)])
    assert "the gateway stays closed" in result.output.replace("\n", " ")
