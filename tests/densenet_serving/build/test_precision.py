from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, float]]:
    """How many photos to calibrate on and to compare, and the bar, of each graph that would have been quantized."""
    asked: list[tuple[int, int, float]] = []

    def quantized(folder: Path, photos: Photos, min_agreement: float, **_: bool) -> QuantizationReport:
        asked.append((len(photos.calibration), len(photos.comparison), min_agreement))
        return REPORT

    def batch(count: int) -> NDArray[np.uint8]:
        return np.zeros((count, 1, 1, 3), np.uint8)

    monkeypatch.setattr(quantize, "version", lambda _: "3.4.0")
    monkeypatch.setattr(quantize, "quantize_folder", quantized)
    monkeypatch.setattr(calibration, "from_folder", lambda folder, _: Photos(batch(200), batch(150), folder.name))
    monkeypatch.setattr(calibration, "from_packages", lambda _: Photos(batch(3), batch(3), "packages"))
    return asked


def apply(chosen: ArchivePrecision, calibrate: Path | None, min_agreement: float | None) -> dict[str, Any] | None:
    step = PRECISIONS[chosen].step
    assert step
    return precision.apply(step, Path(), SPEC, calibrate, min_agreement)


def test_int8_prints_the_table_and_tells_the_card(
    asked: list[tuple[int, int, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = apply("int8", tmp_path, None)
    assert card
    assert (card["precision"], card["layers"], card["layers_in_higher_precision"]) == ("int8", 50, 2)
    assert list(card["agreement_with_f32"]) == ["int8"]
    assert card["agreement_with_f32"]["int8"]["top_1"] == 0.9877
    assert "images_per_second" not in str(card)
    assert asked == [(200, 150, MIN_AGREEMENT)]
    said = capsys.readouterr().err
    for fact in ("98.8%", "30.0", "2 of 50 layers", "300 photos of cats"):
        assert fact in said
    assert "--calibrate" not in said


def test_packaged_photos_come_with_a_warning(
    asked: list[tuple[int, int, float]], capsys: pytest.CaptureFixture[str]
) -> None:
    apply("int8", None, 0.5)
    assert asked == [(3, 3, 0.5)]
    assert "--calibrate" in capsys.readouterr().err


def test_auto_compares_on_few_photos_and_keeps_the_graph(
    asked: list[tuple[int, int, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert apply("auto", tmp_path, None) is None
    assert asked == [(100, 100, 0)]
    said = capsys.readouterr().err
    assert "30.0" in said
    assert "precision auto" in said


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
