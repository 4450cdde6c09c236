"""TorchServe's side of the handler, without TorchServe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Headers = dict[str, Any]


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
        self.headers = headers or []
        self.statuses: dict[int, int] = {}
        self.phrases: dict[int, str] = {}
        self.content_types: dict[int, str] = {}

    def get_all_request_header(self, idx: int) -> Headers:
        return self.headers[idx] if idx < len(self.headers) else {}

    def set_response_content_type(self, idx: int, value: str) -> None:
        self.content_types[idx] = value

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        self.statuses[idx] = code
        self.phrases[idx] = phrase
