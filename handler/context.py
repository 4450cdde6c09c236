"""What the handler uses of TorchServe's context. Tests pass their own; importing TorchServe is not needed."""

from __future__ import annotations

from typing import Any, Protocol


class Context(Protocol):
    """The part of ts.context.Context (TorchServe 0.12) that this handler touches."""

    @property
    def system_properties(self) -> dict[str, Any]:
        """model_dir: the unpacked archive; gpu_id: int or None; batch_size: int."""

    model_yaml_config: dict[str, Any] | None

    def get_all_request_header(self, idx: int) -> dict[str, Any]:
        """Headers of row `idx` in the client's case, and for every form field its part headers as a dict."""

    def set_response_content_type(self, idx: int, value: str) -> None: ...

    def set_response_header(self, idx: int, key: str, value: str) -> None: ...

    def set_response_status(self, code: int, phrase: str, idx: int) -> None: ...
