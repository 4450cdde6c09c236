"""The structure of a HEIC (ISO/IEC 23008-12): one HEVC picture, or a grid of them as phones write it."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from handler.errors import PayloadTooLarge, UnsupportedMediaType
from handler.formats import hevc
from handler.formats.boxes import Counted, Place, boxes, hidden, items, locations, tables
from handler.formats.picture import File, Picture, cut_short, too_many

try:  # optional: TorchServe's Python may do without
    import pillow_heif as pillow_heif
except ImportError:
    pillow_heif = None
else:  # nothing is decoded but the picture itself, on the thread that asks
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)

MISSING = "This server cannot read HEIC, since its Python has no pillow-heif: send the photo as JPEG."
# The picture and its alpha. The largest photos of phones are grids of 192 tiles, whose edges lie past the picture's.
MOST_CODED, SMALL = 2, 1_000_000
# libde265 decodes 79 million pixels of a plain picture a second, and 5 MB of HEVC as dense as that of large photos:
# a byte costs as much as 16 pixels. This much work takes 2 s. It leaves 7 MB to 48 megapixels, and 9.2 MB to 12.
MOST_WORK, PIXELS_A_BYTE = 160_000_000, 16
# libheif's planes and Pillow's picture: 7.7 were measured of an ordinary photo (4:2:0), 9.6 of 4:4:4, 8.6 and 12.5 of
# both with alpha. More than 8 bits double the planes.
BYTES_A_PIXEL, MORE_FOR_DENSE, MORE_FOR_DEPTH = 10, 4, 6
ALPHA = (
    b"urn:mpeg:avc:2015:auxid:1\0",
    b"urn:mpeg:hevc:2015:auxid:1\0",
    b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0",
)
CODED, GRID = b"hvc1", b"grid"


@dataclass
class Found(Counted):
    """What is gathered of a file: its items, where they and the names of their types are, and what belongs to each."""

    primary: int = 0
    items: dict[int, bytes] = field(default_factory=dict)
    names: dict[int, int] = field(default_factory=dict)
    pieces: dict[int, list[Place]] = field(default_factory=dict)
    properties: list[tuple[bytes, int, int]] = field(default_factory=list)
    links: dict[int, list[int]] = field(default_factory=dict)
    references: dict[tuple[bytes, int], list[int]] = field(default_factory=dict)

    def of(self, item: int, kind: bytes) -> list[Place]:
        """Return where the properties of a kind are that an item has."""
        linked = (self.properties[index - 1] for index in self.links.get(item, ()) if index)
        return [(start, end) for name, start, end in linked if name == kind]


def read(data: File) -> Picture:
    """Check a HEIC and hide all but its picture: metadata, previews, depth, gain maps, films.

    libheif turns the picture as irot and imir say, which counts: EXIF's orientation does not. Raises BadRequest past a
    limit or if there is no picture, and UnsupportedMediaType without pillow-heif.
    """
    if pillow_heif is None:
        raise UnsupportedMediaType(MISSING)
    found, films = Found(), []
    for kind, start, end in boxes(data, 0, len(data), found):
        if kind == b"meta":
            _read_meta(data, start + 4, end, found)
        elif kind == b"moov":
            films.append(start - (4 if data[start - 4 : start] == kind else 12))
    if found.items.get(found.primary) not in (CODED, GRID):
        raise cut_short("a HEIC without a picture")
    alphas = _alphas(data, found)
    shown = Counter(part for item in (found.primary, *alphas) for part in (item, *_parts(item, found)))
    width, height = _sides(data, found)
    known = _configurations(data, found, shown)
    _check_cost(data, found, shown, known, MOST_CODED * width * height + SMALL)
    memory = width * height * _bytes_a_pixel(known.values(), alpha=bool(alphas))
    others = [place for item, place in found.names.items() if item not in shown]
    return Picture("HEIF", hidden(data, others + films), width, height, memory)


def _read_meta(data: File, start: int, end: int, found: Found) -> None:
    places: dict[bytes, Place] = {}
    for kind, at, until in tables(data, start, end, found):
        if kind in places or found.items:
            raise cut_short("a HEIC with two tables of one kind")
        places[kind] = (at, until)
    at, _ = places.get(b"pitm", (len(data), 0))
    found.primary = int.from_bytes(data[at + 4 : at + (6 if data[at] == 0 else 8)], "big")
    for item, kind, name in items(data, *places[b"iinf"], found) if b"iinf" in places else ():
        if item in found.items:
            raise cut_short("a HEIC with two items of one number")
        found.items[item], found.names[item] = kind, name
    for item, place in locations(data, places) if b"iloc" in places else ():
        found.pieces.setdefault(item, []).append(place)
    if b"iprp" in places:
        _read_properties(data, *places[b"iprp"], found)
    if b"iref" in places:
        _read_references(data, *places[b"iref"], found)


def _read_properties(data: File, start: int, end: int, found: Found) -> None:
    for kind, at, until in tables(data, start, end, found):
        if kind == b"ipco":
            found.properties += boxes(data, at, until, found)
        elif kind == b"ipma":
            _read_links(data, at, until, found)


def _read_links(data: File, at: int, end: int, found: Found) -> None:
    """Read which properties each item has: an index of 7 or 15 bits below a flag."""
    id_size, link_size = (4 if data[at] else 2), (2 if data[at + 3] & 1 else 1)
    number = struct.unpack_from(">I", data, at + 4)[0]
    at += 8
    for _ in range(number):
        item, count = int.from_bytes(data[at : at + id_size], "big"), data[at + id_size]
        at += id_size + 1
        if at + count * link_size > end:
            raise cut_short("a table of properties that ends early")
        links = (int.from_bytes(data[at + i * link_size : at + (i + 1) * link_size], "big") for i in range(count))
        found.links.setdefault(item, []).extend(link & ((1 << 8 * link_size - 1) - 1) for link in links)
        at += count * link_size


def _read_references(data: File, start: int, end: int, found: Found) -> None:
    size = 4 if data[start] else 2
    for kind, at, until in boxes(data, start + 4, end, found):
        item, number = (
            int.from_bytes(data[at : at + size], "big"),
            int.from_bytes(data[at + size : at + size + 2], "big"),
        )
        at += size + 2
        if at + number * size > until:
            raise cut_short("a table of references that ends early")
        to = [int.from_bytes(data[at + i * size : at + (i + 1) * size], "big") for i in range(number)]
        found.references.setdefault((kind, item), []).extend(to)


def _sides(data: File, found: Found) -> tuple[int, int]:
    """Return the largest size that is claimed for the picture, by its properties or as a grid."""
    claims: list[tuple[int, int]] = [
        struct.unpack_from(">II", data, at + 4) for at, _ in found.of(found.primary, b"ispe")
    ]
    if found.items[found.primary] == GRID:
        (at, _), *_ = found.pieces[found.primary] if found.primary in found.pieces else [(len(data), 0)]
        claims.append(struct.unpack_from(">II" if data[at + 1] & 1 else ">HH", data, at + 4))
    width, height = max(claims, key=lambda sides: sides[0] * sides[1], default=(0, 0))
    if not width * height:
        raise cut_short("a HEIC without a picture")
    return width, height


def _alphas(data: File, found: Found) -> list[int]:
    """Return the pictures that say how transparent the primary one is. libheif takes one of them."""
    beside = [item for (kind, item), of in found.references.items() if kind == b"auxl" and found.primary in of]
    return [
        item
        for item in beside
        if item in found.items and any(data[at + 4 : to].startswith(ALPHA) for at, to in found.of(item, b"auxC"))
    ]


def _parts(item: int, found: Found) -> list[int]:
    """Return the tiles of a grid, each as often as it is shown."""
    tiles = found.references.get((b"dimg", item), []) if found.items.get(item) == GRID else []
    if any(found.items.get(tile) != CODED for tile in tiles):
        raise cut_short("a grid of something else than pictures")
    return tiles


def _configurations(data: File, found: Found, shown: Counter[int]) -> dict[int, hevc.Configuration]:
    """Read the configuration of every HEVC picture that is shown. Tiles have theirs in common."""
    read: dict[Place, hevc.Configuration] = {}
    known = {}
    for item in (item for item in shown if found.items[item] == CODED):
        if len(places := found.of(item, b"hvcC")) != 1:
            raise cut_short("a picture without the one configuration that it needs")
        if places[0] not in read:
            read[places[0]] = hevc.configuration(data, *places[0])
        known[item] = read[places[0]]
    return known


def _bytes_a_pixel(known: Iterable[hevc.Configuration], alpha: bool) -> int:
    sequences = [sequence for configuration in known for sequence in configuration.sequences]
    dense = alpha or any(sequence.dense for sequence in sequences)
    return BYTES_A_PIXEL + MORE_FOR_DENSE * dense + MORE_FOR_DEPTH * any(sequence.deep for sequence in sequences)


def _check_cost(
    data: File, found: Found, shown: Counter[int], known: Mapping[int, hevc.Configuration], limit: int
) -> None:
    """Raise BadRequest if it has more frames, or larger ones, than it shows, and PayloadTooLarge past MOST_WORK."""
    if sum(end - start for item in known for start, end in found.pieces.get(item, ())) > 2 * len(data):
        raise cut_short("pictures that lie over each other")
    total = units = coded = 0
    for item, configuration in known.items():
        pixels, number = hevc.coded_pixels(data, found.pieces.get(item, []), configuration)
        total, units = total + shown[item] * pixels, units + shown[item] * number
        coded += shown[item] * sum(end - start for start, end in found.pieces.get(item, ()))
        if units > hevc.MAX_UNITS:
            raise too_many("units of HEVC", hevc.MAX_UNITS)
        if total > limit:
            raise too_many("pixels in frames that it does not show", limit)
    most = (MOST_WORK - total) // PIXELS_A_BYTE
    if coded > most:
        raise PayloadTooLarge(
            f"The HEIC has {coded:,} bytes of HEVC to decode, each tile as often as it is shown, and the limit "
            f"is {most:,} for {total:,} pixels: send it as JPEG, or smaller."
        )
