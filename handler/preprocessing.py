"""Bring a decoded picture to what the model sees: upright 8-bit RGB, resized and cropped."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.card import Preprocessing

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

# Past this ratio of long to short side only the part that survives the crop is resized: a 1 x 5000 image
# would become 255 x 1,275,000. Pillow rounds the corners of that part to float32 and may resize down before
# across, which moves some pixels by one or two gray levels; every ordinary photo is resized as a whole.
MAX_EXACT_ASPECT = 8

# Pixels that are converted to RGB at a time, if that takes copies.
BAND = 1_000_000


def preprocess(image: Image.Image, spec: Preprocessing) -> NDArray[np.uint8]:
    """Resize the shorter side to `spec.resize` and cut the center, as torchvision's Resize and CenterCrop do.

    Returns uint8 HWC, shape (crop, crop, 3). Normalization is part of the model's graph.
    """
    width, height = image.size
    shorter, longer = sorted(image.size)
    long_side = int(spec.resize * longer / shorter)
    resized = (spec.resize, long_side) if width <= height else (long_side, spec.resize)
    # torchvision's CenterCrop rounds half to even, and so does Python.
    left, top = (round((side - spec.crop) / 2) for side in resized)
    resampling = Image.Resampling[spec.interpolation.upper()]

    if longer <= MAX_EXACT_ASPECT * shorter:
        cropped = image.resize(resized, resampling).crop((left, top, left + spec.crop, top + spec.crop))
    else:
        across, down = width / resized[0], height / resized[1]
        part = (left * across, top * down, (left + spec.crop) * across, (top + spec.crop) * down)
        cropped = image.resize((spec.crop, spec.crop), resampling, box=part)
    return np.asarray(cropped)


def upright_rgb(image: Image.Image) -> Image.Image:
    """Convert a loaded picture of any mode to RGB, over white where it is transparent, turned as its EXIF says."""
    turned = _orientation(image)
    rgb = _to_rgb(image)
    return rgb.transpose(UPRIGHT[turned]) if turned in UPRIGHT else rgb


def _orientation(image: Image.Image) -> int:
    """Read EXIF's orientation; a photo whose EXIF is damaged still shows its picture, in viewers and here."""
    try:
        found: object = image.getexif().get(ORIENTATION, 1)
    except Exception:  # as any decoder of Pillow's
        return 1
    return found if isinstance(found, int) else 1


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
