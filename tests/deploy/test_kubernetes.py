"""What `kubectl apply -k` would send: against the schemas, and what no schema sees. test_pod.py has the pod itself."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from densenet_serving import paths, properties
from tests.deploy.envoy import PATH
from tests.deploy.manifests import KUBERNETES, Manifest, container, manifests, needs_kubectl, options, pod, rendered

OVERLAYS = ("cpu", "gpu")
COMPONENTS = ("monitoring", "queue-autoscaling")
# The oldest that has every field without a feature gate, one between, and the newest that kubernetes-validate knows.
VERSIONS = ("1.27", "1.32", "1.37")

pytestmark = needs_kubectl


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    """The CPU overlay with every component."""
    copy = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(KUBERNETES, copy)
    folder = copy / "overlays" / "cpu"
    with (folder / "kustomization.yaml").open("a") as file:
        file.write(f"components: {json.dumps([f'../../components/{name}' for name in COMPONENTS])}\n")
    return {one["kind"]: one for one in yaml.safe_load_all(rendered(folder))}


def validate(objects: str, version: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("kubernetes-validate", path=PATH)
    if program is None:
        pytest.skip("kubernetes-validate is not installed: pip install -e '.[deploy]'")
    file = folder / "all.yaml"
    file.write_text(objects)
    return subprocess.run([program, "--strict", "-k", version, file], capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_schemas_of_every_supported_version_accept_it(overlay: str, version: str, tmp_path: Path) -> None:
    done = validate(rendered(KUBERNETES / "overlays" / overlay), version, tmp_path)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "WARN" not in said
    assert said.count("passed for resource") == len(manifests(overlay))


def test_a_misspelled_field_would_be_found(tmp_path: Path) -> None:
    misspelled = rendered(KUBERNETES / "overlays" / "cpu").replace("maxSurge", "maxSurges")
    assert validate(misspelled, VERSIONS[0], tmp_path).returncode != 0


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
