"""The shape that every error has, whichever server answers it."""

from __future__ import annotations

from typing import Any


def check_error(error: dict[str, Any], code: int, fragment: str = "") -> None:
    """TorchServe's shape, with a message that a person understands."""
    assert set(error) == {"code", "type", "message"}
    assert error["code"] == code, error
    assert error["type"].endswith("Exception")
    assert fragment in error["message"]
    assert " object at 0x" not in error["message"]


def check_message(message: str) -> None:
    """Why an image is refused: one line of readable length that says what to do."""
    assert ": send " in message, message
    assert message.endswith("."), message
    assert len(message) < 500, message
    assert "\n" not in message, message
