from __future__ import annotations

import json
from pathlib import Path

import pytest

from densenet_serving import paths
from densenet_serving.client.endpoint import KEY_FILE, Endpoint
from densenet_serving.errors import CommandError
from tests.densenet_serving.conftest import write_keys, write_settings
from tests.local_server import Asked, LocalServer, Reply, as_json


def test_the_server_of_a_run_folder(endpoint: Endpoint) -> None:
    write_settings(endpoint)
    assert Endpoint.find(endpoint.folder) == endpoint


def test_a_run_folder_without_a_server(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=f"No server was started with --run-dir {tmp_path}"):
        Endpoint.find(tmp_path)


def test_without_a_key_file_the_server_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "RUN_DIR", tmp_path)
    found = Endpoint.find(tmp_path)
    assert found.inference == "http://127.0.0.1:8080"
    assert found.management == "http://127.0.0.1:8081"
    assert found.key_file == paths.ROOT / KEY_FILE


def test_the_model_store(endpoint: Endpoint) -> None:
    (endpoint.folder / "config.properties").write_text("model_store=/archives\n")
    assert endpoint.model_store == Path("/archives")


def test_valid_tokens_are_read(endpoint: Endpoint, local: LocalServer) -> None:
    assert (endpoint.token("inference"), endpoint.token("management")) == ("inf", "man")
    assert local.asked == []


def test_an_expired_token_is_renewed(endpoint: Endpoint, local: LocalServer) -> None:
    def renew(_: Asked) -> Reply:
        write_keys(endpoint.folder, inference="new")
        return as_json({})

    write_keys(endpoint.folder, hours=-0.01)
    local.on("GET /token", renew)
    assert endpoint.token("inference") == "new"
    assert [(asked.query, asked.headers["Authorization"]) for asked in local.asked] == [
        ("type=inference", "Bearer api")
    ]


def test_an_expiration_without_a_zone_is_utc(endpoint: Endpoint) -> None:
    keys = json.loads(endpoint.key_file.read_text())
    keys["inference"]["expiration time"] = "2999-01-01T00:00:00"
    endpoint.key_file.write_text(json.dumps(keys))
    assert endpoint.token("inference") == "inf"


def test_a_server_that_renews_nothing(endpoint: Endpoint, local: LocalServer, nobody: str) -> None:
    write_keys(endpoint.folder, hours=-1)
    for address, seen in ((local.url, "/token answered 404 and gave no new"), (nobody, "/token did not answer")):
        broken = Endpoint(address, address, address, endpoint.folder)
        with pytest.raises(CommandError, match=rf"{seen}.*: restart the server"):
            broken.token("management")


def test_no_key_file(endpoint: Endpoint) -> None:
    endpoint.key_file.unlink()
    with pytest.raises(CommandError, match=r"There is no .*key_file.json, so no server runs .* densenet serve"):
        endpoint.token("inference")


@pytest.mark.parametrize(
    "text",
    ["", "{", "{}", "[]", '{"inference": {"key": "x"}}', '{"inference": {"key": "x", "expiration time": "soon"}}'],
)
def test_a_damaged_key_file(endpoint: Endpoint, text: str) -> None:
    endpoint.key_file.write_text(text)
    with pytest.raises(CommandError, match=r"key_file.json cannot be read \(.*\): restart the server"):
        endpoint.token("inference")
