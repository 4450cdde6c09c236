"""What ops/ asks of Prometheus: the expressions of the dashboard and of the rules, and the metrics they name."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import yaml

from densenet_serving import paths

OPS = paths.ROOT / "ops"
RULES = yaml.safe_load((OPS / "alerts.yml").read_text())["groups"][0]["rules"]
DASHBOARD = json.loads((OPS / "dashboard.json").read_text())
# Metrics that are not TorchServe's: those of rules, of Prometheus, and of densenet_serving/gateway/status.py.
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
MADE_ELSEWHERE = RECORDED | {"up", "gateway_workers_ready", "gateway_workers_wanted"}
WORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring"}


def skip_without_prometheus() -> None:
    if not (shutil.which("promtool") and shutil.which("prometheus")):
        pytest.skip("Debian's package prometheus is not installed: apt-get install prometheus")


def expressions() -> list[str]:
    """Return every expression as Prometheus reads it: Grafana puts its own interval in."""
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return [text.replace("$__rate_interval", "1m") for text in (*panels, *(rule["expr"] for rule in RULES))]


def metrics_in(expression: str) -> set[str]:
    """Return the metrics a PromQL expression names: what is no label, function, number or word of the language."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(by|without|on|ignoring)\s*\([^)]*\)", " ", expression)
    return set(re.findall(r"(?<![\w:.])[a-zA-Z_:][\w:]*\b(?!\s*\()", bare)) - WORDS
