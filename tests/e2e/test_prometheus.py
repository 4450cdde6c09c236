"""A real Prometheus scrapes the running server and evaluates what ops/ asks of it."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from densenet_serving.options import STAND_IN
from densenet_serving.server import torchserve
from tests.e2e.support import Inference
from tests.ops.material import (
    MADE_BY_PROMETHEUS,
    MADE_BY_THE_GATEWAY,
    OPS,
    RECORDED,
    RULES,
    expressions,
    metrics_in,
    needs_prometheus,
)
from tests.ports import free_port_range

PATIENCE_SECONDS = 30
Ask = Callable[..., Any]


def eventually(look: Callable[[], Any]) -> Any:
    """Return what is seen at last, within bounds; falsy where it never came."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (seen := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return seen


@pytest.fixture(scope="module")
def prometheus(running: torchserve.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """The shipped configuration, but for the address, the folder of the rules and a scrape every half second."""
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
            answer = requests.get(f"http://{listen}/api/v1/{path}", parameters, timeout=PATIENCE_SECONDS).json()
        except requests.ConnectionError:
            return None  # it does not listen yet
        assert answer["status"] == "success", answer
        return answer["data"]

    command: list[str | Path] = ["prometheus", f"--config.file={folder}/prometheus.yml"]
    command += [f"--web.listen-address={listen}", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            assert eventually(lambda: ask("status/config")), (folder / "log").read_text()
            yield ask
        finally:
            process.terminate()


@needs_prometheus
def test_it_scrapes_what_the_server_did(prometheus: Ask, inference: Inference, cat: bytes) -> None:
    assert eventually(lambda: value(prometheus, 'up{job="densenet"}')) == 1
    images = f'classifier_images_total{{model_name="{STAND_IN}", outcome="recognized"}}'
    before = eventually(lambda: prometheus("query", query=images)["result"])
    assert inference(cat).status_code == 200

    assert eventually(lambda: value(prometheus, images) > float(before[0]["value"][1]))


def value(prometheus: Ask, query: str) -> float:
    return sum(float(series["value"][1]) for series in prometheus("query", query=query)["result"])


@needs_prometheus
def test_it_evaluates_every_rule_and_every_panel(prometheus: Ask) -> None:
    def rules() -> list[dict[str, Any]]:
        [group] = prometheus("rules")["groups"]
        return [rule for rule in group["rules"] if rule["health"] == "ok"]

    assert eventually(lambda: len(rules()) == len(RULES)), prometheus("rules")
    for expression in expressions():
        prometheus("query", query=expression)  # asserts that it is understood


def test_everything_named_in_ops_is_exported(running: torchserve.Server, inference: Inference, cat: bytes) -> None:
    assert inference(cat).status_code == 200
    named = set().union(*map(metrics_in, expressions())) - RECORDED - MADE_BY_PROMETHEUS - MADE_BY_THE_GATEWAY

    def missing() -> set[str]:
        text = requests.get(f"{running.endpoint.metrics}/metrics", timeout=PATIENCE_SECONDS).text
        # A metric without a value yet, such as Requests5XX, stands there with its type alone.
        return named - set(re.findall(r"^(?:# TYPE )?([\w:]+)", text, re.MULTILINE))

    eventually(lambda: not missing())
    assert not missing()
