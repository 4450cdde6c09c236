from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from densenet_serving.build import calibration, precision, quantize
from densenet_serving.build.agreement import Agreement
from densenet_serving.build.calibration import Photos
from densenet_serving.build.networks import ARCHITECTURES
from densenet_serving.build.precision import ArchivePrecision, setting_of, step_of
from densenet_serving.build.precisions import Measured
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

    def quantized(folder: Path, photos: Photos, min_agreement: float) -> QuantizationReport:
        asked.append((len(photos.calibration), len(photos.comparison), min_agreement))
        return REPORT

    def compared(folder: Path, photos: Photos) -> tuple[Measured, ...]:
        return quantized(folder, photos, 0).measured

    def batch(count: int) -> NDArray[np.uint8]:
        return np.zeros((count, 1, 1, 3), np.uint8)

    monkeypatch.setattr(quantize, "check_installed", lambda: None)
    monkeypatch.setattr(quantize, "version", lambda _: "3.4.0")
    monkeypatch.setattr(quantize, "quantize_folder", quantized)
    monkeypatch.setattr(quantize, "compare_precisions", compared)
    monkeypatch.setattr(calibration, "from_folder", lambda folder, _: Photos(batch(200), batch(150), folder.name))
    monkeypatch.setattr(calibration, "from_packages", lambda _: Photos(batch(3), batch(3), "packages"))
    return asked


@pytest.mark.parametrize(("chosen", "setting"), [(None, None), ("auto", "auto"), ("f32", "f32"), ("int8", "auto")])
def test_what_the_settings_say(chosen: ArchivePrecision | None, setting: str | None) -> None:
    assert setting_of(chosen) == setting


def test_int8_prints_the_table_and_tells_the_card(
    asked: list[tuple[int, int, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step = step_of("int8", calibrate=tmp_path, min_agreement=None)
    assert step is not None
    card = step(tmp_path, SPEC, print)
    assert card is not None
    assert (card["precision"], card["layers"], card["layers_in_higher_precision"]) == ("int8", 50, 2)
    assert card["agreement_with_f32"]["int8"]["top_1"] == 0.9877
    assert "f32" not in card["agreement_with_f32"]
    assert "images_per_second" not in str(card)
    assert asked == [(200, 150, precision.MIN_AGREEMENT)]
    said = capsys.readouterr().err
    assert "98.8%" in said
    assert "2 of 50 layers stayed in higher precision. Calibrated on 300 photos of cats" in said
    assert "too few to trust" not in said


def test_packaged_photos_come_with_a_warning(
    asked: list[tuple[int, int, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step = step_of("int8", calibrate=None, min_agreement=0.5)
    assert step is not None
    step(tmp_path, SPEC, print)
    assert asked == [(3, 3, 0.5)]
    assert "crops of 4 others. That is too few to trust" in capsys.readouterr().err


def test_auto_compares_on_few_photos_and_keeps_the_graph(
    asked: list[tuple[int, int, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step = step_of("auto", calibrate=tmp_path, min_agreement=None)
    assert step is not None
    assert step(tmp_path, SPEC, print) is None
    assert asked == [(100, 100, 0)]
    said = capsys.readouterr().err
    assert "30.0" in said
    assert "This archive has precision auto" in said


@pytest.mark.parametrize(
    ("chosen", "calibrate", "min_agreement", "message"),
    [
        (None, Path("photos"), None, "--calibrate needs --precision int8 or auto"),
        ("f32", Path("photos"), None, "--calibrate needs --precision int8 or auto"),
        ("f32", None, 0.9, "--min-agreement needs --precision int8"),
        ("auto", None, 0.9, "--min-agreement needs --precision int8"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(
    chosen: ArchivePrecision | None, calibrate: Path | None, min_agreement: float | None, message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        step_of(chosen, calibrate, min_agreement)


@pytest.mark.parametrize("chosen", [None, "f32"])
def test_nothing_is_done_to_an_ordinary_graph(chosen: ArchivePrecision | None) -> None:
    assert step_of(chosen, None, None) is None


@pytest.mark.parametrize("chosen", ["int8", "auto"])
def test_a_missing_package_is_found_before_the_export(
    chosen: ArchivePrecision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "find_spec", {}.get)
    with pytest.raises(CommandError, match=r"int8 needs NNCF.*pip install -e '\.\[int8\]', or leave out --precision"):
        step_of(chosen, None, None)
