"""The stand-in's int8 archive as a worker loads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from handler.card import ModelCard
from handler.cores import Threads
from handler.engines import Engine, load_engine
from handler.errors import ArchiveError
from handler.explanations import Head
from handler.settings import Settings
from tests.conftest import unpack

THREADS = Threads(batch=1, alone=2)


@pytest.fixture(scope="module")
def int8_folder(int8_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(int8_archive, tmp_path_factory.mktemp("int8"))


@pytest.fixture(scope="module")
def int8(int8_folder: Path) -> Engine:
    return load_engine(int8_folder, Settings(), THREADS, None)


def test_an_int8_archive_says_so(int8: Engine, int8_folder: Path) -> None:
    assert int8.description["precision"] == "int8"
    card = ModelCard.read(int8_folder)
    assert card.quantization is not None
    assert (card.quantization["precision"], card.quantization["layers"]) == ("int8", 50)
    assert card.quantization["agreement_with_f32"]["int8"]["top_1"] > 0.7


def test_an_int8_archive_cannot_become_f32(int8_folder: Path) -> None:
    with pytest.raises(ArchiveError, match="int8 archive cannot become f32"):
        load_engine(int8_folder, Settings(precision="f32"), THREADS, None)


def test_heatmaps_stay_right(int8: Engine, int8_folder: Path, stand_in_folder: Path, photos: NDArray[np.uint8]) -> None:
    """docs/int8.md has 50 real photos: the median correlation is 0.992 and the lowest 0.969."""
    exact = load_engine(stand_in_folder, Settings(precision="f32"), THREADS, None)
    logits, features = exact.infer(photos, features=True)
    _, rounded = int8.infer(photos, features=True)
    head = Head.read(int8_folder, logits.shape[1])

    def correlation(row: int) -> float:
        index = int(logits[row].argmax())
        expected, found = (head.activation(maps[row], index).ravel() for maps in (features, rounded))
        return float(np.corrcoef(expected, found)[0, 1])

    correlations = [correlation(row) for row in range(len(photos))]
    assert np.median(correlations) > 0.97
    assert min(correlations) > 0.9


@pytest.mark.parametrize("name", ["model.pt2", "head.npy", "index_to_name.json"])
def test_only_the_openvino_graph_is_int8(int8_folder: Path, stand_in_folder: Path, name: str) -> None:
    """A GPU therefore computes in f16, and PyTorch on a CPU in f32, as from any other archive."""
    assert (int8_folder / name).read_bytes() == (stand_in_folder / name).read_bytes()
    assert (int8_folder / "model.bin").stat().st_size < 0.3 * (stand_in_folder / "model.bin").stat().st_size


def test_without_openvino_it_is_exact(int8_folder: Path) -> None:
    engine = load_engine(int8_folder, Settings(engine="torch", precision="f32"), THREADS, None)
    assert engine.description["precision"] == "f32"
