from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densenet_serving.build import calibration, precision, quantize
from densenet_serving.build.calibration import Photos
from densenet_serving.build.comparison import Agreement, Measured
from densenet_serving.build.networks import ARCHITECTURES
from densenet_serving.build.precision import MIN_AGREEMENT, PRECISIONS, ArchivePrecision
from densenet_serving.build.quantize import QuantizationReport
from densenet_serving.errors import CommandError

SPEC = ARCHITECTURES["densenet121"].preprocessing
MEASURED = (
    Measured("f32", 10.0, Agreement(300, 1, 1, 0, 0)),
    Measured("int8", 30.0, Agreement(300, 0.98765, 0.8, 0.2, 0.01)),
)
REPORT = QuantizationReport("300 photos of cats", layers=50, kept=2, measured=MEASURED)
PHOTOS = Photos(np.zeros((200, 1, 1, 3), np.uint8), np.zeros((150, 1, 1, 3), np.uint8), "photos")


def test_the_table_is_printed_and_only_int8_tells_the_card(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[object, ...]] = []

    def quantized(_: Path, photos: Photos, min_agreement: float, **options: bool) -> QuantizationReport:
        seen.append((len(photos.calibration), len(photos.comparison), min_agreement, options))
        return REPORT

    monkeypatch.setattr(quantize, "quantize_folder", quantized)
    monkeypatch.setattr(quantize, "version", lambda _: "3.4.0")
    int8, auto = PRECISIONS["int8"].step, PRECISIONS["auto"].step
    assert int8
    assert auto
    card = int8(Path(), PHOTOS, 0.9)
    said = capsys.readouterr().err
    assert [fact for fact in ("98.8%", "30.0", "2 of 50 layers", "300 photos of cats") if fact not in said] == []
    assert card
    assert (card["precision"], card["layers"], card["layers_in_higher_precision"]) == ("int8", 50, 2)
    assert {name: one["top_1"] for name, one in card["agreement_with_f32"].items()} == {"int8": 0.9877}
    assert "images_per_second" not in str(card)
    assert auto(Path(), PHOTOS, 0.9) is None
    assert "precision auto" in capsys.readouterr().err
    assert seen == [(200, 150, 0.9, {}), (100, 100, 0, {"keep": True})]


def test_photos_come_from_a_folder_or_with_a_warning_from_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration, "from_folder", lambda folder, _: folder.name)
    monkeypatch.setattr(calibration, "from_packages", lambda _: "packages")

    def step(_: Path, photos: Any, min_agreement: float) -> dict[str, Any]:
        return {photos: min_agreement}

    assert precision.apply(step, Path(), SPEC, Path("cats"), None) == {"cats": MIN_AGREEMENT}
    assert capsys.readouterr().err == ""
    assert precision.apply(step, Path(), SPEC, None, 0.5) == {"packages": 0.5}
    assert "--calibrate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("chosen", "calibrate", "min_agreement", "named"),
    [
        (None, Path("photos"), None, "--calibrate"),
        ("f32", Path("photos"), None, "--calibrate"),
        ("f32", None, 0.9, "--min-agreement"),
        ("auto", None, 0.9, "--min-agreement"),
        ("auto", None, None, r"NNCF.*\[int8\]"),
        ("int8", Path("photos"), 0.9, r"NNCF.*\[int8\]"),
    ],
)
def test_an_option_that_would_be_ignored_and_a_missing_package_are_refused(
    chosen: ArchivePrecision | None,
    calibrate: Path | None,
    min_agreement: float | None,
    named: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "find_spec", {}.get)
    with pytest.raises(CommandError, match=named):
        precision.check(chosen, calibrate, min_agreement)
    precision.check("f32", None, None)
    precision.check(None, None, None)
