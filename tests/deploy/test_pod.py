"""The pod: what it may do, what it is asked, and how much time it has to end."""

from __future__ import annotations

import inspect
import json
import re
from base64 import b64decode
from pathlib import Path

from densenet_serving import paths
from densenet_serving.cli.stop import stop
from densenet_serving.gateway.connections import HEAD_SECONDS
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.upstream import READY_SECONDS
from densenet_serving.server.processes import STOP_SECONDS
from tests.deploy.manifests import container, manifests, needs_kubectl, options, pod

pytestmark = needs_kubectl


def test_there_is_time_to_end() -> None:
    before = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    [delay] = options()["--drain-delay"]
    drain = inspect.signature(stop).parameters["timeout"].default
    needed = before + float(delay) + drain + STOP_SECONDS
    assert needed < pod()["terminationGracePeriodSeconds"]


def test_the_probes_ask_what_the_gateway_answers() -> None:
    probes = {kind: container()[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
    asked = {kind: probe["httpGet"]["path"] for kind, probe in probes.items()}
    assert asked == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/healthz"}
    # A probe that ends before the gateway's own patience would call a slow answer none.
    assert probes["readiness"]["timeoutSeconds"] > READY_SECONDS
    assert probes["liveness"]["periodSeconds"] * probes["liveness"]["failureThreshold"] > HEAD_SECONDS
    assert options()["--host"] == ["0.0.0.0"]  # noqa: S104 - then it knows the pod's address, which kubelet names


def test_the_gateway_knows_the_names_of_its_service() -> None:
    name, namespace = (manifests()["Service"]["metadata"][key] for key in ("name", "namespace"))
    names = [name, f"{name}.{namespace}", f"{name}.{namespace}.svc", f"{name}.{namespace}.svc.cluster.local"]
    assert options()["--allowed-host"] == names


def test_what_is_written_has_a_volume_and_all_else_is_read_only() -> None:
    mounts = {mount["mountPath"]: mount for mount in container()["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert {mount["name"] for mount in mounts.values()} == set(volumes)
    [run_dir], [keys] = options()["--run-dir"], options()["--keys"]
    writable = {path for path, mount in mounts.items() if not mount.get("readOnly")}
    assert writable == {run_dir, "/tmp"}  # noqa: S108 - its TMPDIR
    for path in writable:
        assert volumes[mounts[path]["name"]]["emptyDir"]["sizeLimit"]
    secret = volumes[mounts[str(Path(keys).parent)]["name"]]["secret"]
    assert secret["secretName"] == manifests()["Secret"]["metadata"]["name"]
    assert Path(keys).name in manifests()["Secret"]["data"]
    assert secret["defaultMode"] == 0o440  # the group is fsGroup; a gateway refuses keys that all may read


def test_nobody_gets_in_until_there_are_keys() -> None:
    [content] = manifests()["Secret"]["data"].values()
    assert json.loads(b64decode(content + "==")) == {}


def test_the_pod_is_as_restricted_as_its_namespace_asks() -> None:
    """The profile `restricted` of the Pod Security Standards."""
    assert manifests()["Namespace"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    security = pod()["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == security["fsGroup"] == image_user()
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["automountServiceAccountToken"] is False
    assert all(kind not in volume for volume in pod()["volumes"] for kind in ("hostPath", "persistentVolumeClaim"))


def image_user() -> int:
    found = re.search(r"^USER (\d+):\1$", (paths.ROOT / "deploy" / "Containerfile").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def test_workers_are_counted_from_the_limit() -> None:
    resources = container()["resources"]
    assert resources["limits"]["cpu"] == resources["requests"]["cpu"]


def test_the_connections_of_the_gateway_fit_what_it_is_given() -> None:
    """Bodies that are held, at most, beside what is requested."""
    resources = container()["resources"]
    spare = mebibytes(resources["limits"]["memory"]) - mebibytes(resources["requests"]["memory"])
    assert spare * 2**20 > GatewaySettings(Path(), "").max_held_bytes


def mebibytes(quantity: str) -> int:
    number, unit = int(quantity[:-2]), quantity[-2:]
    return number * {"Mi": 1, "Gi": 1024}[unit]


def test_the_gpu_overlay_asks_for_one_and_differs_in_nothing_else() -> None:
    assert container("gpu")["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container("gpu")["image"] == f"{container()['image']}-gpu"
    same = ("args", "ports", "securityContext", "volumeMounts", "startupProbe", "readinessProbe", "livenessProbe")
    assert all(container("gpu")[key] == container()[key] for key in same)
