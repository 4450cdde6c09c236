"""Decode the bytes of one image file to RGB, or say why that cannot be done."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image, UnidentifiedImageError

from handler import unended
from handler.encodings import unwrap
from handler.errors import BadRequest, PayloadTooLarge, RequestError, UnsupportedMediaType
from handler.formats import avif, bmp, gif, heic, jpeg, png, tiff, webp
from handler.formats.orientation import orientation, upright
from handler.formats.picture import MAX_SIDE, File, Picture, cut_short
from handler.settings import Settings
from handler.signatures import Format, format_of

# Pillow reads dozens of formats, some by running other programs (EPS). Only these are tried.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", *(("HEIF",) if heic.pillow_heif else ()))
ACCEPTED = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"

# What checks the structure of each format.
READERS: dict[Format, Callable[[File], Picture]] = {
    "JPEG": jpeg.read,
    "PNG": png.read,
    "GIF": gif.read,
    "BMP": bmp.read,
    "TIFF": tiff.read,
    "WEBP": webp.read,
    "HEIF": heic.read,
    "AVIF": avif.read,
}

# Bytes that decoding one image may take, whatever its format and colors: a picture of 50 megapixels as Pillow holds
# it, four bytes a pixel, and its copy turned upright or as RGB take 400 MB.
MAX_MEMORY = 500_000_000

# Undoing a PNG's filters takes up to 8 ms a megabyte. A real photo with more makes a file over max_image_bytes, as PNG
# hardly packs a photo to less than a half.
MAX_UNPACKED = 250_000_000

# A JPEG decoded at a part of its size keeps at least so many times the length that it will be resized to, so that
# the resize, and not the decoder's coarser filter, decides what is left of the detail (docs/decisions.md).
HEADROOM = 2

# Pixels that are converted to RGB at a time, if that takes copies.
BAND = 1_000_000


def decode(data: File, settings: Settings, resize: int) -> Image.Image:
    """Examine one file and decode it: `examine`, then `render`."""
    return render(examine(data, settings), settings, resize)


def examine(data: File, settings: Settings) -> Picture:
    """Check the structure and the claims of one file; nothing is decoded.

    Raises BadRequest if the file is empty, damaged or unlike any real one, UnsupportedMediaType if it is not an
    image of an accepted format, and PayloadTooLarge past `max_image_bytes`, `max_image_pixels`, MAX_SIDE,
    MAX_MEMORY or MAX_UNPACKED.
    """
    data = unwrap(data)
    if not data:
        raise BadRequest("The image is empty (0 bytes): send the bytes of a photo.")
    if len(data) > settings.max_image_bytes:
        raise PayloadTooLarge(
            f"The image has {len(data):,} bytes and the limit is {settings.max_image_bytes:,}: send a smaller file."
        )
    picture = _read(data)
    sides = f"The image has {picture.width:,} x {picture.height:,} pixels"
    if picture.pixels > settings.max_image_pixels:
        raise PayloadTooLarge(f"{sides} and the limit is {settings.max_image_pixels:,} in all: send a smaller picture.")
    if max(picture.width, picture.height) > MAX_SIDE:
        raise PayloadTooLarge(f"{sides} and the limit of a side is {MAX_SIDE:,}: send a smaller picture.")
    if picture.memory > MAX_MEMORY:
        raise PayloadTooLarge(
            f"{sides}, which take {picture.memory:,} bytes to decode in this kind of {picture.format}, and the limit "
            f"is {MAX_MEMORY:,}: send a smaller picture."
        )
    if picture.unpacked > MAX_UNPACKED:
        raise PayloadTooLarge(
            f"{sides}, which take {picture.unpacked:,} bytes unpacked, and the limit is {MAX_UNPACKED:,}: send it with "
            "8 bits a channel, or smaller."
        )
    return picture


def _read(data: File) -> Picture:
    kind = format_of(data)
    if kind is None:
        raise UnsupportedMediaType(f"This is not an image of an accepted format: send {ACCEPTED}.")
    try:
        return READERS[kind](data)
    except (ValueError, IndexError, OverflowError, struct.error) as error:  # it ends early, or points behind its end
        raise cut_short(str(error)) from error


def render(picture: Picture, settings: Settings, resize: int) -> Image.Image:
    """Decode one file to an upright 8-bit RGB image; an animation gives its first frame.

    `resize` is the length in pixels that the shorter side will be brought to. With `jpeg_decode: scaled` a JPEG
    is decoded at 1/2, 1/4 or 1/8 of its size, if its shorter side then still has HEADROOM times that length.

    Raises BadRequest if the file is damaged, and PayloadTooLarge if the worker has no memory left for it.
    """
    try:
        load = partial(_load, picture, settings, resize)
        if picture.format != "JPEG" or unended.has_end(picture.data):
            image = load(picture.data)
        else:
            image = unended.decode(picture.data, load)
        # libavif has read the orientation of an AVIF; libheif turns a HEIC itself; of other formats Pillow sees no
        # metadata.
        turned = orientation(image.info.get("exif")) if picture.format == "AVIF" else picture.orientation
        image = _to_rgb(image)
        return upright(image, turned)
    except RequestError:
        raise
    except UnidentifiedImageError as error:
        raise BadRequest(
            f"The image starts like a picture but is damaged, cut short or of an unknown kind: send the whole "
            f"file, as {ACCEPTED}."
        ) from error
    except MemoryError as error:
        raise PayloadTooLarge(
            f"The server has no memory left for {picture.width:,} x {picture.height:,} pixels: send a smaller picture."
        ) from error
    # Pillow's decoders meet hostile bytes with whatever exception comes (OSError, SyntaxError, struct.error,
    # IndexError, ...). Whichever it is, the file is at fault and the other images of the batch are not.
    except Exception as error:
        raise cut_short(str(error)) from error


def _load(picture: Picture, settings: Settings, resize: int, data: File) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=[picture.format])
    if image.width * image.height > picture.pixels:
        raise cut_short("a picture larger than its header says")
    if settings.jpeg_decode == "scaled":
        _scale_down(image, HEADROOM * resize)
    image.load()
    return image


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
