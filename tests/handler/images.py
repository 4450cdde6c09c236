"""What the tests of handler/images.py share: a pixel of what was decoded, and how it is refused."""

from __future__ import annotations

import pytest

from handler.errors import RequestError
from handler.images import decode
from handler.settings import Settings

SETTINGS = Settings()
RESIZE = 255
RED, WHITE = (255, 0, 0), (255, 255, 255)
DAMAGED = "send the whole file"


def pixel(data: bytes, x: int = 0, y: int = 0) -> object:
    image = decode(data, SETTINGS, RESIZE)
    assert image.mode == "RGB"
    return image.getpixel((x, y))


def refusal(data: bytes, kind: type[RequestError], settings: Settings = SETTINGS) -> str:
    """Check how an image is refused and that the message is one sentence that says what to do."""
    with pytest.raises(kind) as caught:
        decode(data, settings, RESIZE)
    message = str(caught.value)
    assert type(caught.value) is kind
    assert ": send " in message
    assert message.endswith(".")
    assert "\n" not in message
    return message
