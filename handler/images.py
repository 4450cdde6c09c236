"""Decode the bytes of one image file to RGB, or say why that cannot be done.

What a file may cost is not looked for in its structure: where files come from strangers, this runs in a process with
limits of its own (handler/decoder_process.py).
"""

from __future__ import annotations

import hashlib
import io
import math
import re
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from handler.card import Preprocessing
from handler.encodings import SIGNATURES, File, format_of, unwrap
from handler.errors import BadRequest, PayloadTooLarge, RequestError, UnsupportedMediaType
from handler.preprocessing import preprocess, upright_rgb
from handler.settings import Settings

try:
    import pillow_heif as pillow_heif
except ImportError:  # the archive runs without it, and then refuses HEIC
    pillow_heif = None
else:
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)

# Pillow reads dozens of formats, some by running other programs (EPS). Only these are tried.
FORMATS = tuple(name for name in SIGNATURES if name != "HEIF" or pillow_heif)
ACCEPTED = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"
NO_HEIC = "This server cannot read HEIC, since its Python has no pillow-heif: send the photo as JPEG."

# The most pixels of a side that JPEG and GIF can store; a row costs memory of its own, and one column has millions.
MAX_SIDE = 65_535

# A JPEG decoded at a part of its size keeps at least so many times the length that it will be resized to, so that
# the resize, and not the decoder's coarser filter, decides what is left of the detail (docs/decisions.md).
HEADROOM = 2

# Reads for the header of one file; photos with profiles and thumbnails take some hundreds.
MAX_HEADER_READS = 20_000

DEFAULTS = Settings()

END = b"\xff\xd9"
# Data of a scan that begins with other bits than the zeros that libjpeg decodes where there is none, once more behind
# each restart marker. It is never read where the scan is whole.
OTHER_BITS = bytes(range(0xAA, 0xEA))
OTHER_TAIL = OTHER_BITS + b"".join(bytes((0xFF, restart)) + OTHER_BITS for restart in range(0xD0, 0xD8)) + END
ROWS = 256  # that are compared at a time

# Not the bytes that a scan's data has behind FF.
MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd8])", re.DOTALL)
LENGTH = struct.Struct(">H")
START_OF_SCAN = 0xDA
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
COEFFICIENTS = 64


def pixels_of(data: File, spec: Preprocessing, settings: Settings = DEFAULTS) -> NDArray[np.uint8]:
    """Bring one file to the pixels that the model sees, (crop, crop, 3).

    Servers and `densenet bulk` call it in decoder processes, since their files come from strangers; calibration,
    evaluation and training, whose files are one's own, call it directly. All have the limits of `settings`. Raises what
    `decode` raises.
    """
    return preprocess(decode(data, settings, spec.resize), spec)


def decode(data: File, settings: Settings, resize: int) -> Image.Image:
    """Decode one file to an upright 8-bit RGB image; an animation gives its first frame.

    `resize` is the length in pixels that the shorter side will be brought to. With `jpeg_decode: scaled` a JPEG
    is decoded at 1/2, 1/4 or 1/8 of its size, if its shorter side then still has HEADROOM times that length.

    Raises BadRequest if the file is empty or cannot be decoded, UnsupportedMediaType if it is not an image of an
    accepted format, and PayloadTooLarge past `max_image_bytes`, `max_image_pixels`, MAX_SIDE or the memory there is.
    """
    data, kind = _recognize(data, settings)
    load = partial(_load, kind, settings, resize)
    try:
        return upright_rgb(_unended(data, load) if kind == "JPEG" and not _has_end(data) else load(data))
    except Exception as error:
        raise _refusal(error, settings) from error


def sides(data: File, settings: Settings) -> tuple[int, int]:
    """Read width and height from a file's header. Raises what `decode` raises of a header."""
    data, kind = _recognize(data, settings)
    try:
        return _open(data, kind, settings).size
    except Exception as error:
        raise _refusal(error, settings) from error


def _recognize(data: File, settings: Settings) -> tuple[File, str]:
    """Unwrap a file and name the format of its first bytes."""
    data = unwrap(data)
    if not data:
        raise BadRequest("The image is empty (0 bytes): send the bytes of a photo.")
    if len(data) > settings.max_image_bytes:
        raise PayloadTooLarge(
            f"The image has {len(data):,} bytes and the limit is {settings.max_image_bytes:,}: send a smaller file."
        )
    kind = format_of(data)
    if kind is None:
        raise UnsupportedMediaType(f"This is not an image of an accepted format: send {ACCEPTED}.")
    if kind not in FORMATS:
        raise UnsupportedMediaType(NO_HEIC)
    return data, kind


class _Content(io.BytesIO):
    """A file for Pillow with a limit of reads: Pillow reads byte by byte to a JPEG's next marker, 0.7 s for 19 MB."""

    reads_left: float = MAX_HEADER_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads_left -= 1
        if self.reads_left < 0:
            raise OSError("its header does not end")
        return super().read(size)


def _open(data: File, kind: str, settings: Settings) -> Image.Image:
    content = _Content(data)
    image = Image.open(content, formats=[kind])
    content.reads_left = math.inf  # the pixels may take as many as they need
    said = f"The image has {image.width:,} x {image.height:,} pixels"
    if image.width * image.height > settings.max_image_pixels:
        raise PayloadTooLarge(f"{said} and the limit is {settings.max_image_pixels:,} in all: send a smaller picture.")
    if max(image.size) > MAX_SIDE:
        raise PayloadTooLarge(f"{said} and the limit of a side is {MAX_SIDE:,}: send a smaller picture.")
    return image


def _load(kind: str, settings: Settings, resize: int, data: File) -> Image.Image:
    image = _open(data, kind, settings)
    if settings.jpeg_decode == "scaled":
        _scale_down(image, HEADROOM * resize)
    image.load()
    return image


def _refusal(error: Exception, settings: Settings) -> RequestError:
    """Say what a decoder's exception means to the person who sent the file.

    Pillow's decoders meet hostile bytes with whatever exception comes (OSError, SyntaxError, struct.error,
    IndexError, ...). Whichever it is, the file is at fault and the other images of the batch are not.
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, MemoryError):
        return PayloadTooLarge("There is not enough memory to decode the image: send a smaller picture.")
    if isinstance(error, Image.DecompressionBombError):
        return PayloadTooLarge(
            f"The image has more pixels than the limit of {settings.max_image_pixels:,} in all: send a smaller picture."
        )
    if isinstance(error, UnidentifiedImageError):
        return BadRequest(
            "The image starts like a picture but is damaged, cut short or of an unknown kind: send the whole "
            f"file, as {ACCEPTED}."
        )
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return BadRequest(
        f"The image could not be decoded ({said}): send the whole file; if it is whole, save it again or smaller."
    )


def _scale_down(image: Image.Image, least: int) -> None:
    """Ask for a JPEG decoded at a fraction of its size, its shorter side at least `least` pixels.

    Sides that are no multiple of the divisor would be rounded up, and the resize would then shift the picture.
    """
    for divisor in (8, 4, 2):
        width, height = (side / divisor for side in image.size)
        if min(width, height) >= least and width.is_integer() and height.is_integer():
            image.draft(None, (int(width), int(height)))
            return


def _has_end(data: bytes | bytearray) -> bool:
    """Say whether a JPEG has its last marker; phones and editors write more of their own behind it."""
    if data.endswith(END):
        return True
    try:
        return any(marker == END[1] for marker, _ in _segments(data))
    except struct.error:  # the file ends within a segment
        return False


def _unended(data: bytes | bytearray, load: Callable[[bytes], Image.Image]) -> Image.Image:
    """Decode a JPEG without its last marker; `load` decodes one that has it. Raises BadRequest if pixels are missing.

    Some cameras and programs leave the end of image (FF D9) out, write half of it, or fill the file up with zeros.
    Pillow refuses the first two as it does a file that is cut in the middle, and its lenient mode takes both and leaves
    gray what is missing. So the file is decoded twice, each time with another tail: pixels that differ were not in it.
    """
    whole = bytes(data).rstrip(b"\0")
    whole += b"\0" * whole.endswith(b"\xff")  # half a marker, or a byte of the scan, which needs its zero
    one = _digest(load(whole + END))
    other = load(whole + OTHER_TAIL)
    if _digest(other) != one or not _has_all_scans(whole):
        raise BadRequest("The image is damaged or cut short (its last pixels are missing): send the whole file.")
    return other


def _digest(image: Image.Image) -> bytes:
    """Hash the pixels, a band of rows at a time, so that they are in memory once."""
    found = hashlib.blake2b()
    for top in range(0, image.height, ROWS):
        found.update(image.crop((0, top, image.width, min(top + ROWS, image.height))).tobytes())
    return found.digest()


def _has_all_scans(data: bytes) -> bool:
    """Say whether each color has all its coefficients to their last bit: the last scans may be missing as a whole."""
    colors = 0
    bits: dict[int, dict[int, int]] = defaultdict(dict)  # by color and coefficient: those that are still to come
    for marker, start in _segments(data):
        if marker in FRAMES:
            colors = data[start + 7]
        elif marker == START_OF_SCAN:
            count = data[start + 2]
            first, last, approximation = data[start + 3 + 2 * count : start + 6 + 2 * count]
            for color in data[start + 3 : start + 3 + 2 * count : 2]:
                bits[color] |= dict.fromkeys(range(first, last + 1), approximation & 15)
    whole = [color for color in bits.values() if len(color) == COEFFICIENTS and not any(color.values())]
    return len(whole) == colors


def _segments(data: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """Yield each segment's marker, and where its length is."""
    position = 2
    while found := MARKER.search(data, position):
        yield found[1][0], found.end()
        position = found.end() + LENGTH.unpack_from(data, found.end())[0]
