"""A client of a server that gives every photo the same answer."""

from __future__ import annotations

from typing import Any, cast

from densenet_serving import paths
from densenet_serving.client.http import Client

ANSWER = {"class_name": "tabby", "probability": 0.876}


class FakeClient:
    def __init__(self, models: dict[str, str]) -> None:
        self._models = models

    def models(self) -> dict[str, str]:
        return self._models

    def predict(self, model: str, image: bytes) -> dict[str, Any]:
        assert image == paths.SAMPLE_PHOTO.read_bytes()
        return ANSWER

    def describe(self, model: str) -> dict[str, Any]:
        accuracy = {"top1": 0.4, "top5": 0.6, "evaluated_on": "eval.tar"} if model == "densenet121" else None
        weights = {"source": "a student", "sha256": "ab", "license": "MIT", "accuracy": accuracy}
        return {"modelName": model, "customizedMetadata": {"weights": weights}}


def as_client(models: dict[str, str]) -> Client:
    return cast(Client, FakeClient(models))
