"""A real Prometheus scrapes the running server and evaluates what ops/ asks of it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from densenet_serving.options import STAND_IN
from densenet_serving.server import torchserve
from tests.e2e.support import Inference
from tests.ops.material import MADE_ELSEWHERE, OPS, RULES, expressions, metrics_in, skip_without_prometheus
from tests.ports import free_port_range
from tests.waiting import until

TIMEOUT_SECONDS = 30
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def prometheus(running: torchserve.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """The shipped configuration, but for the address, the folder of the rules and a scrape every half second."""
    skip_without_prometheus()
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((OPS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    config["rule_files"] = [str(OPS / name) for name in config["rule_files"]]
    address = running.endpoint.metrics.removeprefix("http://")
    config["scrape_configs"][0]["static_configs"] = [{"targets": [address]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    listen = f"127.0.0.1:{free_port_range()}"

    def ask(path: str, **parameters: str) -> Any:
        try:
            answer = requests.get(f"http://{listen}/api/v1/{path}", parameters, timeout=TIMEOUT_SECONDS).json()
        except requests.ConnectionError:
            return None  # it does not listen yet
        assert answer["status"] == "success", answer
        return answer["data"]

    command: list[str | Path] = ["prometheus", f"--config.file={folder}/prometheus.yml"]
    command += [f"--web.listen-address={listen}", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            until(lambda: ask("status/config"), said=(folder / "log").read_text)
            yield ask
        finally:
            process.terminate()


def value(prometheus: Ask, query: str) -> float:
    return sum(float(series["value"][1]) for series in prometheus("query", query=query)["result"])


def test_it_scrapes_what_the_server_did(prometheus: Ask, inference: Inference, cat: bytes) -> None:
    until(lambda: value(prometheus, 'up{job="densenet"}') == 1)
    images = f'classifier_images_total{{model_name="{STAND_IN}", outcome="recognized"}}'
    before = until(lambda: value(prometheus, images))
    assert inference(cat).status_code == 200
    until(lambda: value(prometheus, images) > before)


def test_it_evaluates_every_rule_and_every_panel(prometheus: Ask) -> None:
    def rules() -> list[dict[str, Any]]:
        [group] = prometheus("rules")["groups"]
        return [rule for rule in group["rules"] if rule["health"] == "ok"]

    until(lambda: len(rules()) == len(RULES), said=lambda: prometheus("rules"))
    for expression in expressions():
        prometheus("query", query=expression)  # asserts that it is understood


def test_everything_named_in_ops_is_exported(running: torchserve.Server, inference: Inference, cat: bytes) -> None:
    assert inference(cat).status_code == 200
    named = set().union(*map(metrics_in, expressions())) - MADE_ELSEWHERE

    def missing() -> set[str]:
        text = requests.get(f"{running.endpoint.metrics}/metrics", timeout=TIMEOUT_SECONDS).text
        # A metric without a value yet, such as Requests5XX, is there with its type alone.
        return named - set(re.findall(r"^(?:# TYPE )?([\w:]+)", text, re.MULTILINE))

    until(lambda: not missing(), said=missing)
