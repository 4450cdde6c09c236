"""The handler in this process: TorchServe's side of it, without TorchServe."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from densenet_serving import paths
from handler.classifier import ImageClassifier

Headers = dict[str, Any]


class FakeMetric:
    """Holds what was added, as (value, labels)."""

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels
        self.added: list[tuple[float, dict[str, str]]] = []

    def add_or_update(self, value: float, dimension_values: list[str]) -> None:
        self.added.append((value, dict(zip(self.labels, dimension_values, strict=True))))


@cache
def declared_metrics() -> dict[str, list[dict[str, Any]]]:
    """Read the metrics file, once: that takes longer than most requests."""
    declared: dict[str, list[dict[str, Any]]] = yaml.safe_load(paths.METRICS_CONFIG.read_text())["model_metrics"]
    return declared


class FakeMetrics:
    """Knows the metrics that the metrics file declares, by kind and name, as TorchServe's does."""

    def __init__(self) -> None:
        self.cache = {
            kind: {metric["name"]: FakeMetric(metric["dimensions"]) for metric in metrics}
            for kind, metrics in declared_metrics().items()
        }

    def added(self, kind: str, name: str) -> list[tuple[float, dict[str, str]]]:
        return self.cache[kind][name].added


class FakeContext:
    """Holds what TorchServe gives and records what the handler sets."""

    def __init__(
        self,
        folder: Path,
        headers: list[Headers] | None = None,
        config: dict[str, Any] | None = None,
        batch_size: Any = 4,
    ) -> None:
        self.system_properties: dict[str, Any] = {"model_dir": str(folder), "gpu_id": None, "batch_size": batch_size}
        self.model_yaml_config = config
        self.metrics = FakeMetrics()
        self.headers = headers or []
        self.statuses: dict[int, int] = {}
        self.phrases: dict[int, str] = {}
        self.content_types: dict[int, str] = {}
        self.response_headers: dict[int, dict[str, str]] = {}

    def get_all_request_header(self, idx: int) -> Headers:
        return self.headers[idx] if idx < len(self.headers) else {}

    def get_request_id(self, idx: int) -> str:
        return f"id-{idx}"

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.content_types[idx] = value

    def set_response_header(self, idx: int, key: str, value: str) -> None:
        self.response_headers.setdefault(idx, {})[key] = value

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        self.statuses[idx] = code
        self.phrases[idx] = phrase


def settings_in(folder: Path) -> dict[str, Any]:
    """Read an unpacked archive's model-config.yaml."""
    settings: dict[str, Any] = yaml.safe_load((folder / "model-config.yaml").read_text())
    return settings


def load_worker(folder: Path) -> Callable[[Mapping[str, Any]], Any]:
    """Load an unpacked archive and return a function from one row to its decoded answer."""
    context = FakeContext(folder, config=settings_in(folder))
    worker = ImageClassifier()
    worker.initialize(context)
    return lambda row: json.loads(worker.handle([row], context)[0])
