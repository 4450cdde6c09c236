"""How a stored picture has to be turned to be upright. Only this tag of EXIF is read."""

from __future__ import annotations

import re
import struct

from PIL import Image

from handler.formats.ifd import entries, header, integers

# EXIF 2.32, tag 0x0112.
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

EXIF_MARK = b"Exif\0\0"
# XMP says the same as text, for photos without EXIF; Pillow looks for it in this way.
IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def orientation(exif: bytes | None, xmp: bytes | None = None) -> int:
    """Read the orientation, 1 to 8, of a block of EXIF or else of XMP; 1 if neither says.

    A photo whose EXIF is damaged still shows its picture, in viewers and here.
    """
    found = _in_exif(exif) if exif else None
    if found is None and xmp:
        match = IN_XMP.search(xmp)
        found = int(match[1]) if match else None
    return found if found in UPRIGHT else 1


def upright(image: Image.Image, turned: int) -> Image.Image:
    return image.transpose(UPRIGHT[turned]) if turned in UPRIGHT else image


def _in_exif(exif: bytes) -> int | None:
    block = exif.removeprefix(EXIF_MARK)
    found = None
    try:
        layout, first = header(block)
        for entry in entries(block, layout, first):
            if entry.tag == ORIENTATION and entry.count == 1:
                found = integers(block, layout, entry)[0]
    except (ValueError, IndexError, struct.error):  # cut short or no EXIF: what was found before stands
        pass
    return found
