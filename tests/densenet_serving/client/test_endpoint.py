from __future__ import annotations

from pathlib import Path

import pytest

from densenet_serving import paths
from densenet_serving.client.endpoint import KEY_FILE, Endpoint
from densenet_serving.errors import CommandError
from tests.densenet_serving.conftest import write_settings


def test_the_server_of_a_run_folder(endpoint: Endpoint) -> None:
    write_settings(endpoint)
    assert Endpoint.find(endpoint.folder) == endpoint
    (endpoint.folder / "config.properties").write_text("model_store=/archives\n")
    assert endpoint.model_store == Path("/archives")


def test_without_a_key_file_the_server_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandError, match=f"--run-dir {tmp_path}"):
        Endpoint.find(tmp_path)
    monkeypatch.setattr(paths, "RUN_DIR", tmp_path)
    found = Endpoint.find(tmp_path)
    assert (found.inference, found.management) == ("http://127.0.0.1:8080", "http://127.0.0.1:8081")
    assert found.key_file == paths.ROOT / KEY_FILE
