"""What `densenet archive --precision` does to the exported graph: nothing, a comparison of precisions, or int8."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from densenet_serving.console import err, note, warn
from densenet_serving.errors import CommandError
from handler.card import Preprocessing
from handler.settings import Precision

if TYPE_CHECKING:  # OpenVINO takes a second to import
    from densenet_serving.build.calibration import Photos

ArchivePrecision = Literal["auto", "f32", "int8"]

# Gets the folder of an exported graph, which it may replace, its preprocessing, and where to say what it does.
# Returns what the model card says about that, or None if the graph stays as it is.
GraphStep = Callable[[Path, Preprocessing, Callable[[str], None]], dict[str, Any] | None]

# As much as bf16, which is served unasked: it agrees with f32 on 98.4 % of 500 photos (docs/int8.md).
MIN_AGREEMENT = 0.98
# Enough to choose by, in less than a minute: --precision auto compares, and its archive does not depend on it.
COMPARED_PHOTOS = 100


def setting_of(precision: ArchivePrecision | None) -> Precision | None:
    """Return what model-config.yaml says for it: an int8 graph leaves the rest to the processor."""
    return "auto" if precision == "int8" else precision


def step_of(
    precision: ArchivePrecision | None, calibrate: Path | None, min_agreement: float | None
) -> GraphStep | None:
    """Return what to do with the exported graph, or None. Raises CommandError if an option or a package is missing."""
    if precision not in ("auto", "int8") and calibrate is not None:
        raise CommandError("--calibrate needs --precision int8 or auto: add it, or leave out --calibrate.")
    if precision != "int8" and min_agreement is not None:
        raise CommandError("--min-agreement needs --precision int8: add it, or leave out --min-agreement.")
    if precision not in ("auto", "int8"):
        return None
    from densenet_serving.build.quantize import check_installed

    check_installed()
    if precision == "auto":
        return partial(_compare, calibrate)
    return partial(_quantize, calibrate, MIN_AGREEMENT if min_agreement is None else min_agreement)


def _quantize(
    calibrate: Path | None, min_agreement: float, folder: Path, spec: Preprocessing, say: Callable[[str], None]
) -> dict[str, Any]:
    """Replace the graph by its int8 form and print how far its answers are those of f32. Raises CommandError."""
    from densenet_serving.build.precisions import table
    from densenet_serving.build.quantize import quantize_folder

    photos = _photos(calibrate, spec, say)
    say("Quantizing to int8 and comparing with f32 (minutes)")
    report = quantize_folder(folder, photos, min_agreement)
    err.print(table(report.measured))
    note(
        f"{report.kept} of {report.layers} layers stayed in higher precision. Calibrated on {report.calibrated_on}; "
        "images/s are those of one thread of this machine."
    )
    return report.on_card()


def _compare(calibrate: Path | None, folder: Path, spec: Preprocessing, say: Callable[[str], None]) -> None:
    """Print how fast each precision is here, and how far its answers are those of f32. Raises CommandError."""
    from densenet_serving.build.precisions import table
    from densenet_serving.build.quantize import compare_precisions

    photos = _photos(calibrate, spec, say)
    say("Comparing the precisions on this machine")
    err.print(table(compare_precisions(folder, photos.first(COMPARED_PHOTOS))))
    note(
        "This archive has precision auto: bf16 if the processor has it, otherwise f32. Build it with --precision int8 "
        "or f32 if you prefer that."
    )


def _photos(calibrate: Path | None, spec: Preprocessing, say: Callable[[str], None]) -> Photos:
    from densenet_serving.build.calibration import HELD_BACK, from_folder, from_packages

    say("Reading the photos to calibrate on")
    if calibrate is not None:
        return from_folder(calibrate, spec)
    warn(
        f"int8 is calibrated on crops of packaged photos, and compared with f32 on crops of {HELD_BACK} others. That "
        "is too few to trust, and real photos usually agree more: name a folder of photos like those that the model "
        "will be asked about with --calibrate."
    )
    return from_packages(spec)
