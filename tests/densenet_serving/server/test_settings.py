from __future__ import annotations

from pathlib import Path

import pytest

from densenet_serving import paths, properties
from densenet_serving.build.archives import Archive
from densenet_serving.errors import CommandError
from densenet_serving.server import heap
from densenet_serving.server.settings import changes_of, json_lines, settings_of
from handler.cores import default_workers
from tests.densenet_serving.build.archive_files import write_archive


def write_config(folder: Path, text: str) -> Path:
    path = folder / "config.properties"
    path.write_text(text)
    return path


def test_what_is_computed_stands_beside_the_users_own(tmp_path: Path) -> None:
    config = write_config(tmp_path, "job_queue_size=7\nload_models=all\nmetrics_address=http://127.0.0.1:9999\n")
    settings = settings_of(config, tmp_path, [Archive.read(write_archive(tmp_path / "m.mar"))], None, {})
    assert settings == {
        "inference_address": "http://127.0.0.1:8080",
        "management_address": "http://127.0.0.1:8081",
        "metrics_address": "http://127.0.0.1:9999",
        "grpc_inference_port": "7070",
        "grpc_management_port": "7071",
        "default_workers_per_model": str(default_workers()),
        "job_queue_size": "7",
        "model_store": str(tmp_path),
        "load_models": "m.mar",
        "vmargs": heap.bounded({"job_queue_size": "7"}),
    }


def test_the_user_wins_over_the_computer_and_changes_over_the_user(tmp_path: Path) -> None:
    config = write_config(tmp_path, "default_workers_per_model=9\nenable_model_api=true\n")
    settings = settings_of(config, tmp_path, [], 9000, {"enable_model_api": "false"})
    assert settings["default_workers_per_model"] == "9"
    assert settings["enable_model_api"] == "false"
    assert settings["grpc_management_port"] == "9004"


def test_models_from_other_machines_are_refused_unless_they_are_fixed(tmp_path: Path) -> None:
    config = write_config(tmp_path, "management_address=http://0.0.0.0:8081\nenable_model_api=true\n")
    with pytest.raises(CommandError, match="lets other machines register models"):
        settings_of(config, tmp_path, [], None, {})
    assert settings_of(config, tmp_path, [], None, {"enable_model_api": "false"})
    assert settings_of(config, tmp_path, [], 9000, {})  # --port lays every address on 127.0.0.1


def test_the_metrics_file_is_named_in_full(tmp_path: Path) -> None:
    assert settings_of(paths.SERVER_CONFIG, tmp_path, [], None, {})["metrics_config"] == str(paths.METRICS_CONFIG)


def test_a_metrics_file_that_is_not_there(tmp_path: Path) -> None:
    config = write_config(tmp_path, "metrics_config=mine.yaml\n")
    with pytest.raises(CommandError, match=f"There is no {tmp_path}/mine.yaml, which .* names as metrics_config: "):
        settings_of(config, tmp_path, [], None, {})


def test_options_become_torchserves_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert changes_of(False) == {}
    assert changes_of(True, Path("a.pem"), Path("/a.key")) == {
        "enable_model_api": "false",
        "certificate_file": str(tmp_path / "a.pem"),
        "private_key_file": "/a.key",
    }


def test_json_logs_are_one_more_argument_of_the_jvm(tmp_path: Path) -> None:
    given = properties.read(paths.SERVER_CONFIG)["vmargs"]
    assert json_lines(paths.SERVER_CONFIG) == {"vmargs": f"{given} -Dlog.format=json"}
    (tmp_path / "empty").touch()
    assert json_lines(tmp_path / "empty") == {"vmargs": "-Dlog.format=json"}
    assert "${sys:log.format:-text}" in paths.LOG_CONFIG.read_text()
