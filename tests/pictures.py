"""Images for tests: made here, or real photographs that packages ship."""

from __future__ import annotations

import io
import struct
import zlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image


def noise(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    """An RGB image without structure: any slip in resizing, cropping or channel order shows."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encode(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:  # noqa: A002 - Pillow's own word
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


# Photographs inside packages. Read as files: the packages take seconds to import.
FILES = {
    "chelsea": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "camera": ("skimage", "data/camera.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}


def photo(name: str) -> Image.Image:
    """A real photograph, as RGB, without what else its file says."""
    package, file = FILES[name]
    found = find_spec(package)
    assert found
    assert found.origin
    with Image.open(Path(found.origin).parent / file) as image:
        return Image.fromarray(np.asarray(image.convert("RGB")))


# What may be said of each photograph; the first is the answer one would give.
FITTING = {
    "chelsea": {"Egyptian_cat", "tabby", "tiger_cat"},
    "coffee": {"espresso", "cup", "coffee_mug"},
    "rocket": {"missile", "projectile"},
    "camera": {"tripod", "reflex_camera"},
    "china": {"palace", "bell_cote", "monastery"},
    "flower": {"daisy", "bee"},
    "grace_hopper": {"academic_gown", "mortarboard", "military_uniform", "suit"},
}


# The sample photo, docs/coffee.jpg, leaves no doubt to any network in any precision (tests/test_sample.py).
SAMPLE_NAME = "espresso"


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG of a kind that Pillow does not write; `rows` has a filter byte before each row."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = (png_chunk(b"IHDR", header), *extra, png_chunk(b"IDAT", zlib.compress(rows)), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
