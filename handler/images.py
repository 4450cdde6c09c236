"""Decode the bytes of one image file to RGB, or say why that cannot be done.

What a file may cost is not looked for in its structure: where files come from strangers, this runs in a process with
limits of its own (handler/decoder/).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image, UnidentifiedImageError

from handler import unended
from handler.encodings import unwrap
from handler.errors import BadRequest, PayloadTooLarge, RequestError, UnsupportedMediaType
from handler.settings import Settings
from handler.signatures import SIGNATURES, format_of

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

# EXIF 2.32, tag 0x0112: how a stored picture has to be turned to be upright.
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# A JPEG decoded at a part of its size keeps at least so many times the length that it will be resized to, so that
# the resize, and not the decoder's coarser filter, decides what is left of the detail (docs/decisions.md).
HEADROOM = 2

# Pixels that are converted to RGB at a time, if that takes copies.
BAND = 1_000_000

File = bytes | bytearray


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
        image = unended.decode(data, load) if kind == "JPEG" and not unended.has_end(data) else load(data)
        turned = _orientation(image)
        rgb = _to_rgb(image)
        return rgb.transpose(UPRIGHT[turned]) if turned in UPRIGHT else rgb
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


def _open(data: File, kind: str, settings: Settings) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=[kind])
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


def _orientation(image: Image.Image) -> int:
    """Read EXIF's orientation; a photo whose EXIF is damaged still shows its picture, in viewers and here."""
    try:
        found: object = image.getexif().get(ORIENTATION, 1)
    except Exception:  # as any decoder of Pillow's
        return 1
    return found if isinstance(found, int) else 1


def _scale_down(image: Image.Image, least: int) -> None:
    """Ask for a JPEG decoded at a fraction of its size, its shorter side at least `least` pixels.

    Sides that are no multiple of the divisor would be rounded up, and the resize would then shift the picture.
    """
    for divisor in (8, 4, 2):
        width, height = (side / divisor for side in image.size)
        if min(width, height) >= least and width.is_integer() and height.is_integer():
            image.draft(None, (int(width), int(height)))
            return


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB, a band of rows at a time, so that only the image and its copy are in memory."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        white, clear = _white(image), image.info.get("transparency")
        return _in_bands(image, lambda band: _scale_to_8_bits(band, white, clear))
    if image.has_transparency_data:
        return _in_bands(image, _over_white)
    return image.convert("RGB")


def _in_bands(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    width, height = image.size
    rows = max(1, BAND // width)
    if rows >= height:
        return convert(image).convert("RGB")
    whole = Image.new("RGB", image.size)
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(top + rows, height)))
        whole.paste(convert(band), (0, top))
    return whole


def _over_white(image: Image.Image) -> Image.Image:
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _white(image: Image.Image) -> float:
    """Say which level is white in 16-bit, 32-bit or float gray.

    Such files do not say how bright white is: it is the least of 1 (floats only), 255, 65535 that holds the
    brightest pixel, or else that pixel itself.
    """
    if image.mode.startswith("I;16"):
        return 65535.0
    rows = max(1, BAND // image.width)
    brightest = 0.0
    for top in range(0, image.height, rows):
        band = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))), np.float32)
        brightest = max(brightest, float(np.nan_to_num(band).max()))
    levels = ([1.0] if image.mode == "F" else []) + [255.0, 65535.0, brightest]
    return next(level for level in levels if brightest <= level)


def _scale_to_8_bits(image: Image.Image, white: float, clear: int | None) -> Image.Image:
    """Scale gray to 8 bits; `clear` is the level that a file declares transparent, which becomes white."""
    pixels = np.array(image, dtype=np.float32)
    np.nan_to_num(pixels, copy=False)
    if clear is not None:
        pixels[pixels == clear] = white
    np.maximum(pixels, 0, out=pixels)
    pixels /= white
    pixels *= 255
    return Image.fromarray(np.rint(pixels, out=pixels).astype(np.uint8))
