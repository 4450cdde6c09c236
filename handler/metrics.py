"""What a worker reports to Prometheus: images by outcome, how long the stages took, how many images ran together.

A metric that the server's metrics.yaml does not declare would be dropped by TorchServe after it
was written and parsed: it is not written at all. Every observation is a line that TorchServe's front reads, so there is
one of each kind a batch and not one an image.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from handler.answers import Result
from handler.card import ModelCard
from handler.context import MetricsCache
from handler.errors import RequestError

# Histograms are in seconds: their buckets are the Prometheus client's own (0.005 to 10) and TorchServe sets no others.
DECODE = "classifier_decode_seconds"
INFERENCE = "classifier_inference_seconds"
BATCH = "classifier_batch_images"
IMAGES = "classifier_images_total"
NAMES = (DECODE, INFERENCE, BATCH, IMAGES)

# TorchServe's front drops a label without a value, and with it the whole metric.
NO_REASON = "none"
OUTCOMES = (
    ("recognized", NO_REASON),
    ("unrecognized", NO_REASON),
    *(("rejected", error.__name__) for error in RequestError.__subclasses__()),
)


class Metrics:
    """Writes the metrics of one model, labeled with its name and version, through TorchServe's metrics."""

    def __init__(self, cache: MetricsCache, card: ModelCard) -> None:
        declared = {name: metric for kind in cache.cache.values() for name, metric in kind.items()}
        self._metrics = {name: declared[name] for name in NAMES if name in declared}
        self._model = [card.name, card.version]
        # Prometheus sees a rise only of what it has seen before: the first of a kind must not be lost.
        for labels in OUTCOMES:
            self.add(IMAGES, 0, *labels)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Observe how long a block takes; one that raises is not observed."""
        began = time.perf_counter()
        yield
        self.add(name, round(time.perf_counter() - began, 6))

    def count(self, results: Iterable[Result]) -> None:
        """Count the results of a whole batch; a request refused before its images were found is one."""
        for labels, number in Counter(map(outcome, results)).items():
            self.add(IMAGES, number, *labels)

    def add(self, name: str, value: float, *labels: str) -> None:
        if metric := self._metrics.get(name):
            metric.add_or_update(value, [*self._model, *labels])


def outcome(result: Result) -> tuple[str, str]:
    """Return the labels `outcome` and `reason` of one result: never a client's words, always a name from this code."""
    if isinstance(result, RequestError):
        return "rejected", type(result).__name__
    return ("recognized" if result.recognized else "unrecognized"), NO_REASON
