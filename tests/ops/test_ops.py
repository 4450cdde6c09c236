from __future__ import annotations

import subprocess

import pytest
import yaml

from densenet_serving import paths, properties
from densenet_serving.server.ports import DEFAULT_ADDRESSES
from tests.ops import material
from tests.ops.material import DASHBOARD, OPS, RULES, expressions, metrics_in


@pytest.mark.parametrize("arguments", [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")])
def test_promtool_accepts(arguments: tuple[str, ...]) -> None:
    material.skip_without_prometheus()
    done = subprocess.run(["promtool", *arguments], cwd=OPS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout


def test_every_alert_is_tested_firing_and_silent() -> None:
    tests = yaml.safe_load((OPS / "alerts_test.yml").read_text())["tests"]
    firing = {case["alertname"] for test in tests for case in test["alert_rule_test"] if "exp_alerts" in case}
    assert firing == {rule["alert"] for rule in RULES if "alert" in rule}
    for test in tests:
        fired = {str(alert["exp_labels"]) for case in test["alert_rule_test"] for alert in case.get("exp_alerts", [])}
        silent_cases = [case for case in test["alert_rule_test"] if "exp_alerts" not in case]
        # Either a series that never fires stands beside the one that does, or a moment at which none does.
        assert fired
        assert silent_cases or len({str(series["series"]) for series in test["input_series"]}) > len(fired)


def test_prometheus_reads_the_address_the_server_listens_on() -> None:
    scrape, of_gateway = yaml.safe_load((OPS / "prometheus.yml").read_text())["scrape_configs"]
    address = properties.read(paths.SERVER_CONFIG)["metrics_address"]
    assert address == DEFAULT_ADDRESSES["metrics_address"]
    assert scrape["static_configs"] == [{"targets": [address.removeprefix("http://")]}]
    assert of_gateway["static_configs"] == [{"targets": ["127.0.0.1:8000"]}]


def test_the_dashboard_is_one_grafana_can_import() -> None:
    panels = DASHBOARD["panels"]
    assert {"title", "uid", "schemaVersion", "panels", "templating"} <= set(DASHBOARD)
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [(x, y) for p in panels for x in span(p, "x", "w") for y in span(p, "y", "h")]
    assert len(set(cells)) == len(cells), "two panels lie on each other"
    assert max(x for x, _ in cells) < 24  # Grafana's grid
    assert all(panel["title"] and panel["targets"] for panel in panels)


def span(panel: dict[str, dict[str, int]], start: str, length: str) -> range:
    grid = panel["gridPos"]
    return range(grid[start], grid[start] + grid[length])


def test_everything_named_is_declared() -> None:
    """In the metrics file; tests/e2e/test_prometheus.py sees that the server exports it."""
    declared = set()
    for section in ("ts_metrics", "model_metrics"):
        for kind, metrics in yaml.safe_load(paths.METRICS_CONFIG.read_text())[section].items():
            suffixes = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
            declared |= {metric["name"] + suffix for metric in metrics for suffix in suffixes}
    named = set().union(*map(metrics_in, expressions()))
    assert named <= declared | material.MADE_ELSEWHERE
    assert {"classifier_images_total", "QueueTime_bucket", "Requests5XX"} <= named


@pytest.mark.parametrize(
    ("expression", "metrics"),
    [
        ('sum by (le, a) (rate(b_bucket{c="d"}[5m])) / 1e6 > 2', {"b_bucket"}),
        ("abs(a:b:c1h - avg_over_time(a:b:c1h[1d] offset 1h)) > 0.1 and sum(d) unless e", {"a:b:c1h", "d", "e"}),
        ("CPUUtilization", {"CPUUtilization"}),
    ],
)
def test_metrics_are_found_in_an_expression(expression: str, metrics: set[str]) -> None:
    assert metrics_in(expression) == metrics
