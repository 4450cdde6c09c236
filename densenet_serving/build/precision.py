"""What `densenet archive --precision` does: the worker's setting, and what becomes of the exported graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from densenet_serving.console import err, note, warn
from densenet_serving.errors import CommandError
from handler.card import Preprocessing
from handler.settings import Precision

if TYPE_CHECKING:  # OpenVINO takes a second to import
    from densenet_serving.build.calibration import Photos

ArchivePrecision = Literal["auto", "f32", "int8"]
# Gets the folder of an exported graph, which it may replace, photos, and --min-agreement. Returns what the model card
# says about that, or None if the graph stays as it is.
Step = Callable[[Path, "Photos", float], dict[str, Any] | None]

# As much as bf16, which is served unasked: it agrees with f32 on 98.4 % of 500 photos (docs/int8.md).
MIN_AGREEMENT = 0.98
# Enough to choose by, in less than a minute: --precision auto compares, and its archive does not depend on it.
COMPARED_PHOTOS = 100


def quantize(folder: Path, photos: Photos, min_agreement: float) -> dict[str, Any]:
    """Replace the graph by its int8 form and print how far its answers are those of f32. Raises CommandError."""
    from densenet_serving.build.comparison import table
    from densenet_serving.build.quantize import quantize_folder

    report = quantize_folder(folder, photos, min_agreement)
    err.print(table(report.measured))
    note(
        f"{report.kept} of {report.layers} layers stayed in higher precision. Calibrated on {report.calibrated_on}; "
        "images/s are those of one thread of this machine."
    )
    return report.on_card()


def compare(folder: Path, photos: Photos, _: float) -> None:
    """Print how fast each precision is here, and how far its answers are those of f32; the graph stays as it is."""
    from densenet_serving.build.comparison import table
    from densenet_serving.build.quantize import quantize_folder

    few = replace(
        photos, calibration=photos.calibration[:COMPARED_PHOTOS], comparison=photos.comparison[:COMPARED_PHOTOS]
    )
    report = quantize_folder(folder, few, min_agreement=0, keep=True)
    err.print(table(report.measured))
    note(
        "This archive has precision auto: bf16 if the processor has it, otherwise f32. Build it with --precision int8 "
        "or f32 if you prefer that."
    )


@dataclass(frozen=True)
class Choice:
    """What model-config.yaml says, and what is done to the graph."""

    setting: Precision
    step: Step | None = None


PRECISIONS: dict[ArchivePrecision, Choice] = {
    "auto": Choice("auto", compare),
    "f32": Choice("f32"),
    "int8": Choice("auto", quantize),  # what stays in higher precision is left to the processor
}


def check(precision: ArchivePrecision | None, calibrate: Path | None, min_agreement: float | None) -> None:
    """Raise CommandError if an option would be ignored, or a package is missing."""
    has_step = bool(precision and PRECISIONS[precision].step)
    if calibrate is not None and not has_step:
        raise CommandError("--calibrate needs --precision int8 or auto: add it, or leave out --calibrate.")
    if min_agreement is not None and precision != "int8":
        raise CommandError("--min-agreement needs --precision int8: add it, or leave out --min-agreement.")
    if has_step and find_spec("nncf") is None:
        raise CommandError(
            "int8 needs NNCF where archives are built: run pip install -e '.[int8]', or leave out --precision."
        )


def apply(
    step: Step, folder: Path, preprocessing: Preprocessing, calibrate: Path | None, min_agreement: float | None
) -> dict[str, Any] | None:
    """Do a step to the graph in `folder`, with photos from the folder `calibrate` or from packages."""
    from densenet_serving.build.calibration import HELD_BACK, from_folder, from_packages

    if calibrate is None:
        warn(
            f"int8 is calibrated on crops of packaged photos, and compared with f32 on crops of {HELD_BACK} others. "
            "That is too few to trust, and real photos usually agree more: name a folder of photos like those that the "
            "model will be asked about with --calibrate."
        )
    photos = from_folder(calibrate, preprocessing) if calibrate else from_packages(preprocessing)
    return step(folder, photos, MIN_AGREEMENT if min_agreement is None else min_agreement)
