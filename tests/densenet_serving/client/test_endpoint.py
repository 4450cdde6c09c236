from __future__ import annotations

import json
from pathlib import Path

import pytest

from densenet_serving import paths
from densenet_serving.client.endpoint import KEY_FILE, STATE_FILE, Endpoint
from densenet_serving.errors import CommandError


def test_the_server_of_a_run_folder(endpoint: Endpoint) -> None:
    (endpoint.folder / STATE_FILE).write_text(json.dumps({"endpoint": endpoint.to_dict() | {"folder": "/moved"}}))
    assert Endpoint.find(endpoint.folder) == endpoint


def test_without_a_state_file_the_server_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match=f"--run-dir {tmp_path}"):
        Endpoint.find(tmp_path)
    monkeypatch.setattr(paths, "RUN_DIR", tmp_path)
    found = Endpoint.find(tmp_path)
    assert (found.inference, found.management) == ("http://127.0.0.1:8080", "http://127.0.0.1:8081")
    assert found.key_file == paths.ROOT / KEY_FILE


@pytest.mark.parametrize("text", ["", '{"endpoint": {"inf', "[]", "{}"])
def test_a_damaged_state_file(tmp_path: Path, text: str) -> None:
    (tmp_path / STATE_FILE).write_text(text)
    with pytest.raises(CommandError, match=rf"{tmp_path / STATE_FILE} is damaged"):
        Endpoint.find(tmp_path)


def test_the_model_store(endpoint: Endpoint) -> None:
    (endpoint.folder / "config.properties").write_text("model_store=/archives\n")
    assert endpoint.model_store == Path("/archives")
