"""The very pod of the base, run by podman kube play with the image that test_image.py tries.

Podman 4.3 leaves a Secret encoded and open to everybody (docs/scaling.md), so its file comes from a folder, with the
mode that the pod asks for. It knows no fsGroup either.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from tests.deploy import manifests
from tests.deploy.containers import Container, build_pause, podman

pytestmark = manifests.needs_kubectl
NAME = "densenet-pod-test"
ASK = """
import requests
ready = requests.get("http://127.0.0.1:8000/readyz", timeout=10)
photo = requests.post("http://127.0.0.1:8000/predict", timeout=10)
print(ready.status_code, photo.status_code)
"""


@pytest.fixture(scope="module")
def container(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    build_pause()
    folder = tmp_path_factory.mktemp("pod")
    file = folder / "pod.yaml"
    file.write_text(yaml.safe_dump(pod_of(image, secret(folder))))
    try:
        played = podman("kube", "play", str(file), seconds=120)
        assert played.returncode == 0, played.stderr
        container = Container(f"{NAME}-densenet")
        container.wait_until_ready()
        yield container
    finally:
        podman("pod", "rm", "--force", "--time=0", NAME)
        podman("volume", "rm", f"{NAME}-run", f"{NAME}-tmp")


def secret(folder: Path) -> Path:
    """Write the Secret's file as Kubernetes mounts it."""
    keys = folder / "secret"
    keys.mkdir()
    (keys / "keys.json").write_text((manifests.KUBERNETES / "base" / "keys.json").read_text())
    os.chown(keys / "keys.json", 0, manifests.pod()["securityContext"]["fsGroup"])
    (keys / "keys.json").chmod(0o440)
    for parent in (keys, *keys.parents[:3]):  # pytest's folders are their owner's alone
        parent.chmod(0o755)
    return keys


def pod_of(image: str, keys: Path) -> manifests.Manifest:
    spec = deepcopy(manifests.pod())
    spec["restartPolicy"] = "Never"  # so that a failure can be read
    [container] = spec["containers"]
    container |= {"image": image, "imagePullPolicy": "Never"}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):  # podman's need systemd and curl in the image
        del container[probe]
    for volume in (*spec["volumes"], *container["volumeMounts"]):
        volume["name"] = f"{NAME}-{volume['name']}"
    spec["volumes"] = [volume for volume in spec["volumes"] if "secret" not in volume]
    spec["volumes"].append({"name": f"{NAME}-keys", "hostPath": {"path": str(keys), "type": "Directory"}})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec}


def test_it_is_ready_and_lets_nobody_in_without_a_key(container: Container) -> None:
    assert container.execute("python", "-c", ASK).stdout == "200 401\n"


def test_it_is_as_restricted_as_it_asks_to_be(container: Container) -> None:
    assert container.inspect("{{.HostConfig.ReadonlyRootfs}}") == "true"
    container.check_its_rights()


def test_told_to_end_it_ends_well(container: Container) -> None:
    """Last of all."""
    podman("kill", "--signal=TERM", container.id)
    assert container.status() == 0, container.logs()
