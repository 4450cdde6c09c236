"""Bytes to an RGB image, or the reason why not."""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image, UnidentifiedImageError

from handler.errors import BadRequest, PayloadTooLarge, RequestError, UnsupportedMediaType
from handler.settings import Settings

# Pillow reads dozens of formats, some by running other programs (EPS): only these are tried.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
ACCEPTED = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"

# The first bytes of those formats, to tell a damaged photo from a file that never was one.
SIGNATURE = re.compile(
    rb"\xff\xd8|\x89PNG|GIF8|BM.{4}\0\0\0\0|II[*+]\0|MM\0[*+]|RIFF.{4}WEBP|.{4}ftypavi[fs]", re.DOTALL
)

# A JPEG decoded at a part of its size keeps at least so many times the length that it will be resized to, so that
# the resize, and not the decoder's coarser filter, decides what is left of the detail (docs/decisions.md).
HEADROOM = 2

# EXIF 2.32, tag 0x0112: how the stored picture has to be turned to stand upright.
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


def decode(data: bytes | bytearray, settings: Settings, resize: int) -> Image.Image:
    """Decode one file to an upright 8-bit RGB image; an animation gives its first frame.

    `resize` is the length in pixels that the shorter side will be brought to. With `jpeg_decode: scaled` a JPEG
    comes at 1/2, 1/4 or 1/8 of its size, where that leaves its shorter side HEADROOM times as long or more.

    Raises BadRequest where the file is empty or damaged, UnsupportedMediaType where it is no image of an
    accepted format, and PayloadTooLarge, before decoding, past `max_image_bytes` or `max_image_pixels`.
    """
    if not data:
        raise BadRequest("The image is empty (0 bytes): send the bytes of a photo.")
    if len(data) > settings.max_image_bytes:
        raise PayloadTooLarge(
            f"The image has {len(data):,} bytes and the limit is {settings.max_image_bytes:,}: send a smaller file."
        )
    try:
        image = _open(data)
        width, height = image.size
        if width * height > settings.max_image_pixels:
            raise PayloadTooLarge(
                f"The image has {width:,} x {height:,} pixels and the limit is {settings.max_image_pixels:,} "
                "in all: send a smaller picture."
            )
        if settings.jpeg_decode == "scaled":
            _scale_down(image, HEADROOM * resize)
        image.load()
        return _to_rgb(_turn_upright(image))
    except RequestError:
        raise
    except Image.DecompressionBombError as error:
        raise PayloadTooLarge(
            f"The image has far more than {settings.max_image_pixels:,} pixels: send a smaller picture."
        ) from error
    # Pillow's decoders meet hostile bytes with whatever exception comes (OSError, SyntaxError, struct.error,
    # IndexError, ...). Whichever it is, the file is at fault and the other images of the batch are not.
    except Exception as error:
        raise BadRequest(
            f"The image is damaged or cut short and could not be decoded ({error}): send the whole file."
        ) from error


def _open(data: bytes | bytearray) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError as error:
        if SIGNATURE.match(data):
            raise BadRequest(
                f"The image starts like a picture but is damaged, cut short or of an unknown kind: send the whole "
                f"file, as {ACCEPTED}."
            ) from error
        raise UnsupportedMediaType(f"This is not an image of an accepted format: send {ACCEPTED}.") from error


def _scale_down(image: Image.Image, least: int) -> None:
    """Have a JPEG decoded at a part of its size, the shorter side not under `least` pixels.

    Sides that are no multiple of the divisor would be rounded up, and the resize would then shift the picture.
    """
    for divisor in (8, 4, 2):
        width, height = (side / divisor for side in image.size)
        if min(width, height) >= least and width.is_integer() and height.is_integer():
            image.draft(None, (int(width), int(height)))
            return


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # a photo whose EXIF block is damaged still shows its picture, in viewers and here
        return image
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    if image.mode.startswith(("I", "F")):
        return _scale_to_8_bits(image).convert("RGB")
    return image.convert("RGB")


def _scale_to_8_bits(image: Image.Image) -> Image.Image:
    """Bring 16-bit, 32-bit and float grey to 0..255.

    Such files do not say how bright white is: it is the least of 1 (floats only), 255, 65535 that holds the
    brightest pixel, or else that pixel itself.
    """
    pixels = np.array(image, dtype=np.float32)
    np.nan_to_num(pixels, copy=False)
    np.maximum(pixels, 0, out=pixels)
    brightest = float(pixels.max())
    if image.mode.startswith("I;16"):
        white = 65535.0
    else:
        levels = ([1.0] if image.mode == "F" else []) + [255.0, 65535.0, brightest]
        white = next(level for level in levels if brightest <= level)
    pixels /= white
    pixels *= 255
    return Image.fromarray(np.rint(pixels, out=pixels).astype(np.uint8))
