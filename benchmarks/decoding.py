"""What a scaled JPEG decode changes: the stand-in's answers and the CPU time, beside those of the exact decode.

python -m benchmarks.decoding FOLDER_OF_PHOTOS

The photos are enlarged first, sharpened and given grain, for a scaled decode could only err in what is finer than
the model sees. Prints two tables, and JSON in a pipe.
"""

from __future__ import annotations

import io
import json
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageFilter, ImageOps
from rich.progress import track
from rich.table import Table

from benchmarks.agreement import stand_in
from benchmarks.material import JPEG_QUALITY, parse_size
from benchmarks.report import show
from benchmarks.results import Spread, spread
from densenet_serving.build.comparison import HEADINGS, Agreement, compare
from densenet_serving.build.networks import ARCHITECTURES
from densenet_serving.client import sources
from densenet_serving.console import err, out, run
from densenet_serving.errors import CommandError
from densenet_serving.options import MODEL
from densenet_serving.photo_files import LeftOut
from handler.card import ModelCard, Preprocessing
from handler.cores import Threads, available_cores
from handler.engines import load_engine
from handler.images import decode
from handler.labels import softmax
from handler.preprocessing import preprocess
from handler.settings import Settings

EXACT, SCALED = Settings(jpeg_decode="exact", precision="f32"), Settings(jpeg_decode="scaled", precision="f32")

SIDES = "1024,2048"
GRAINS = "0,8"
CHROMA_4_2_0 = 2  # Pillow's number for it
TIMED_SIZES = ("720x720", "1600x1200", "4000x3000")
TIMED_GRAIN = 8
# Only sides that the divisor divides are scaled, and 8 is the largest divisor.
MULTIPLE = 8


@dataclass(frozen=True)
class Kind:
    """How photos are enlarged: `side` is the shorter one, `grain` the standard deviation in grey levels."""

    side: int
    grain: int


@dataclass(frozen=True)
class Cost:
    """CPU milliseconds of decoding and preprocessing; `ratio` is scaled over exact, round by round."""

    size: str
    exact_ms: Spread | None
    scaled_ms: Spread | None
    ratio: Spread | None


def decoding(
    photos: Annotated[list[str], typer.Argument(help="Photos, folders or glob patterns.")],
    sides: Annotated[str, typer.Option(help="Shorter sides to enlarge to, with commas between.")] = SIDES,
    grains: Annotated[str, typer.Option(help="Grain in grey levels, with commas between.")] = GRAINS,
    rounds: Annotated[int, typer.Option(min=1, help="Timed rounds; exact and scaled take turns.")] = 15,
) -> None:
    """Print how far answers after a scaled decode differ from those after an exact one, and what each costs."""
    names = list(sources.expand(photos, LeftOut()))
    kinds = [Kind(side, grain) for side in numbers(sides) for grain in numbers(grains)]
    agreements = infer(kinds, names)
    costs = [measure(size, names[0], rounds) for size in TIMED_SIZES]
    if out.is_terminal:
        print_tables(agreements, costs)
    else:
        rows = [asdict(kind) | asdict(agreement) for kind, agreement in agreements.items()]
        print(json.dumps({"agreement": rows, "cost": [asdict(cost) for cost in costs]}, indent=2))


def numbers(text: str) -> list[int]:
    """Read "1024,2048". Raises CommandError."""
    try:
        return [int(number) for number in text.split(",")]
    except ValueError as error:
        raise CommandError(f"{text} is no list of whole numbers: write it as 1024,2048.") from error


def infer(kinds: list[Kind], names: list[str]) -> dict[Kind, Agreement]:
    """Classify every photo, enlarged in every way, after both decodes."""
    cores = available_cores()
    with stand_in() as folder, ThreadPoolExecutor(cores) as pool:
        engine = load_engine(folder, EXACT, Threads(cores, cores), None)
        both_ways = partial(pixels_of, kinds, ModelCard.read(folder).preprocessing)
        made = track(pool.map(both_ways, names), "Classifying", len(names), console=err, transient=True)
        answers = np.array(
            [[[softmax(engine.infer(one[None])[0])[0] for one in pair] for pair in photo] for photo in made]
        )
    return {kind: compare(answers[:, i, 1], answers[:, i, 0]) for i, kind in enumerate(kinds)}


def pixels_of(kinds: list[Kind], spec: Preprocessing, name: str) -> NDArray[np.uint8]:
    """Bring one photo to the model's pixels, shape (kinds, 2, crop, crop, 3): exact, then scaled."""
    data = sources.read(name)
    enlarged = [enlarge(data, kind) for kind in kinds]
    return np.array([[road(jpeg, one, spec) for one in (EXACT, SCALED)] for jpeg in enlarged])


def road(data: bytes, settings: Settings, spec: Preprocessing) -> NDArray[np.uint8]:
    return preprocess(decode(data, settings, spec.resize), spec)


def enlarge(data: bytes, kind: Kind) -> bytes:
    """Encode the photo anew with a shorter side of `kind.side` pixels."""
    photo = Image.open(io.BytesIO(data)).convert("RGB")
    factor = kind.side / min(photo.size)
    width, height = (round(side * factor / MULTIPLE) * MULTIPLE for side in photo.size)
    return encode(photo.resize((width, height), Image.Resampling.LANCZOS), kind.grain)


def encode(photo: Image.Image, grain: int) -> bytes:
    """Sharpen, add grain of that standard deviation, which photo and seed determine, and encode as JPEG 4:2:0."""
    sharp = photo.filter(ImageFilter.UnsharpMask())
    if grain:
        pixels = np.asarray(sharp)
        generator = np.random.default_rng(zlib.crc32(pixels.tobytes()))
        noise = grain * generator.standard_normal((*pixels.shape[:2], 1), np.float32)
        sharp = Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    sharp.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=CHROMA_4_2_0)
    return buffer.getvalue()


def measure(size: str, name: str, rounds: int) -> Cost:
    """Time the road from bytes to DenseNet's pixels, the two decodes by turns."""
    photo = Image.open(io.BytesIO(sources.read(name))).convert("RGB")
    data = encode(ImageOps.fit(photo, parse_size(size), Image.Resampling.LANCZOS), TIMED_GRAIN)
    spec = ARCHITECTURES[MODEL].preprocessing
    times: dict[Settings, list[float]] = {EXACT: [], SCALED: []}
    for _ in track(range(rounds), f"Timing {size}", console=err, transient=True):
        for settings, taken in times.items():
            began = time.thread_time()
            road(data, settings, spec)
            taken.append((time.thread_time() - began) * 1e3)
    ratios = [scaled / exact for exact, scaled in zip(times[EXACT], times[SCALED], strict=True)]
    return Cost(size, spread(times[EXACT]), spread(times[SCALED]), spread(ratios))


def print_tables(agreements: dict[Kind, Agreement], costs: list[Cost]) -> None:
    table = Table("Shorter side", "Grain", *HEADINGS, box=None)
    for kind, agreement in agreements.items():
        table.add_row(str(kind.side), str(kind.grain), *agreement.cells())
    out.print(table)
    table = Table("Photo", "Exact, CPU ms", "Scaled, CPU ms", "Scaled / exact", box=None)
    for cost in costs:
        table.add_row(cost.size, show(cost.exact_ms), show(cost.scaled_ms), show(cost.ratio))
    out.print(table)


if __name__ == "__main__":
    run(decoding)
