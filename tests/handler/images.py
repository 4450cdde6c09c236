"""What the tests of handler/images.py share: a pixel of what was decoded, and how it is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from handler.errors import RequestError
from handler.images import decode
from handler.settings import Settings
from tests.errors import check_message

SETTINGS = Settings()
RESIZE = 255
RED, WHITE = (255, 0, 0), (255, 255, 255)
DAMAGED = "send the whole file"


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def array(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(decode(data, SETTINGS, RESIZE))


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
    check_message(message)
    return message
