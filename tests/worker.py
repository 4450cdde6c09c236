"""The handler in this process, as a TorchServe worker runs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from handler.classifier import ImageClassifier
from tests.conftest import unpack


class FakeContext:
    """ts.context.Context as far as the handler uses it; keeps what was set for each row."""

    def __init__(
        self, folder: Path, headers: Mapping[int, Mapping[str, Any]] | None = None, batch_size: int = 1
    ) -> None:
        self.system_properties: dict[str, Any] = {"model_dir": str(folder), "gpu_id": None, "batch_size": batch_size}
        self.model_yaml_config: dict[str, Any] | None = None
        self.headers = headers or {}
        self.statuses: dict[int, int] = {}
        self.content_types: dict[int, str] = {}

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        return dict(self.headers.get(idx, {}))

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.content_types[idx] = value

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        self.statuses[idx] = code


def load_worker(archive: Path, folder: Path) -> Callable[[Mapping[str, Any]], Any]:
    """Unpack an archive and return a function from one row to its decoded answer."""
    context = FakeContext(unpack(archive, folder))
    context.model_yaml_config = yaml.safe_load((folder / "model-config.yaml").read_text())
    worker = ImageClassifier()
    worker.initialize(context)
    return lambda row: json.loads(worker.handle([row], context)[0])
