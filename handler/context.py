"""What the handler uses of TorchServe's context. Tests pass their own; importing TorchServe is not needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Metric(Protocol):
    """The part of ts.metrics.caching_metric.CachingMetric that this handler touches."""

    def add_or_update(self, value: float, dimension_values: list[str]) -> None:
        """Increment a counter or observe a value; the labels stand in the order of the metrics file."""


class MetricsCache(Protocol):
    """The part of ts.metrics.metric_cache_yaml_impl.MetricsCacheYamlImpl that this handler touches."""

    @property
    def cache(self) -> Mapping[Any, Mapping[str, Metric]]:
        """Metrics by kind (counter, gauge, histogram) and name: those the metrics file declares."""


class Context(Protocol):
    """The part of ts.context.Context (TorchServe 0.12) that this handler touches."""

    @property
    def system_properties(self) -> dict[str, Any]:
        """model_dir: the unpacked archive; gpu_id: int or None; batch_size: int."""

    model_yaml_config: dict[str, Any] | None

    @property
    def metrics(self) -> MetricsCache: ...

    def get_request_id(self, idx: int) -> str | None:
        """The id TorchServe gave row `idx`, which it also answers as the header x-request-id."""

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        """Headers of row `idx` in the client's case, and for every form field its part headers as a dict."""

    def set_response_content_type(self, idx: int, value: str) -> None: ...

    def set_response_header(self, idx: int, key: str, value: str) -> None: ...

    def set_response_status(self, code: int, phrase: str, idx: int) -> None: ...
