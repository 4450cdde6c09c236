"""HEIC files put together by hand around one tile: what phones write, and what nobody should."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from PIL import Image

from tests.handler.hostile import box
from tests.pictures import encode

SIDE = 64


def tile(picture: Image.Image | None = None) -> tuple[bytes, bytes]:
    """Return the HEVC of a picture, by default SIDE x SIDE red pixels, and its hvcC."""
    good = encode(picture or Image.new("RGB", (SIDE, SIDE), "red"), "HEIF")
    start = good.index(b"hvcC") - 4
    return good[good.index(b"mdat") + 4 :], good[start : start + struct.unpack_from(">I", good, start)[0]]


def heic_of(
    items: Sequence[tuple[bytes, bytes]], properties: Sequence[bytes], links: Sequence[Sequence[int]], *more: bytes
) -> bytes:
    """Put a HEIC together of items, each a type and its bytes, of which the first is the picture."""
    infos = b"".join(
        box(b"infe", struct.pack(">IHH4s", 2 << 24, i, 0, kind) + b"\0") for i, (kind, _) in enumerate(items, 1)
    )
    places, start = struct.pack(">IBBH", 1 << 24, 0x44, 0x40, len(items)), 0
    for i, (_, content) in enumerate(items, 1):
        places += struct.pack(">HHH", i, 0, 0) + b"HERE" + struct.pack(">HII", 1, start, len(content))
        start += len(content)
    table = struct.pack(">II", 0, len(links))
    table += b"".join(struct.pack(">HB", i, len(one)) + bytes(one) for i, one in enumerate(links, 1))
    meta = b"".join(
        [
            bytes(4),
            box(b"hdlr", bytes(8) + b"pict" + bytes(13)),
            box(b"pitm", struct.pack(">IH", 0, 1)),
            box(b"iinf", struct.pack(">IH", 0, len(items)) + infos),
            box(b"iloc", places),
            box(b"iprp", box(b"ipco", b"".join(properties)) + box(b"ipma", table)),
            *more,
        ]
    )
    head = box(b"ftyp", b"heic" + bytes(4) + b"mif1heic") + box(b"meta", meta)
    return head.replace(b"HERE", struct.pack(">I", len(head) + 8)) + box(b"mdat", b"".join(item for _, item in items))


def size(width: int, height: int) -> bytes:
    return box(b"ispe", struct.pack(">III", 0, width, height))


def grid(
    columns: int, rows: int, claimed: tuple[int, int] | None = None, tiles: int = 0, picture: Image.Image | None = None
) -> bytes:
    """A grid of tiles as phones write it: `tiles` different ones, shown again and again; by default each once.

    Each shows `picture`, a square, or is red.
    """
    data, configuration = tile(picture)
    side = picture.width if picture else SIDE
    number = tiles or columns * rows
    width, height = claimed or (side * columns, side * rows)
    content = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    shown = [2 + i % number for i in range(columns * rows)]
    references = box(b"iref", bytes(4) + box(b"dimg", struct.pack(f">HH{len(shown)}H", 1, len(shown), *shown)))
    items = [(b"grid", content), *[(b"hvc1", data)] * number]
    properties = [size(width, height), size(side, side), configuration]
    return heic_of(items, properties, [[1], *[[2, 0x83]] * number], references)
