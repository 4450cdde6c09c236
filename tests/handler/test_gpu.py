"""The CUDA engine on a GPU, beside f32 on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from handler.cores import Threads
from handler.engines import MAX_BATCH, load_engine
from handler.engines.torch import CudaEngine, TorchEngine
from handler.labels import softmax
from handler.settings import Precision, Settings

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="This machine has no GPU that PyTorch can use.")

THREADS = Threads(batch=2, alone=2)
ROWS = MAX_BATCH + 1
# Of a probability. Half precision on the CPU differs by 0.004 from f32.
TOLERANCE: dict[Precision, float] = {"auto": 0.02, "f32": 1e-4}


@pytest.fixture(scope="module", params=TOLERANCE)
def engine(stand_in_folder: Path, request: pytest.FixtureRequest) -> CudaEngine:
    return CudaEngine(stand_in_folder, Settings(precision=request.param), THREADS, torch.device("cuda", 0))


@pytest.fixture(scope="module", name="photos")
def rows_of_photos(photos: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """ROWS photos: the few there are, mirrored and darkened."""
    both = np.concatenate([photos, photos[:, :, ::-1]])
    return np.concatenate([(both * light).astype(np.uint8) for light in (1.0, 0.8, 0.6)])[:ROWS]


@pytest.fixture(scope="module")
def exact(stand_in_folder: Path, photos: NDArray[np.uint8]) -> NDArray[np.float64]:
    return softmax(TorchEngine(stand_in_folder, Settings(), THREADS).infer(photos)[0])


def test_it_says_what_f32_on_the_cpu_says(
    engine: CudaEngine, photos: NDArray[np.uint8], exact: NDArray[np.float64]
) -> None:
    tolerance = TOLERANCE["f32" if engine.description["precision"] == "f32" else "auto"]
    # Two classes that are equally likely may change places.
    second, first = np.sort(exact, axis=1)[:, -2:].T
    clear = first - second > 2 * tolerance
    assert clear.sum() >= ROWS / 2
    for rows in range(1, ROWS + 1):
        chosen = slice(ROWS - rows, ROWS)  # another photo comes first each time
        logits, _ = engine.infer(photos[chosen])
        assert logits.shape == (rows, 1000)
        assert logits.dtype == np.float32
        probabilities = softmax(logits)
        np.testing.assert_allclose(probabilities, exact[chosen], atol=tolerance, err_msg=f"{rows} photos")
        same = probabilities.argmax(axis=1) == exact[chosen].argmax(axis=1)
        assert same[clear[chosen]].all(), f"{rows} photos"


def test_densenet_says_what_f32_on_the_cpu_says(densenet_folder: Path, photos: NDArray[np.uint8]) -> None:
    """Its weights are random, so that only the logits can be compared."""
    expected = TorchEngine(densenet_folder, Settings(), THREADS).infer(photos[:5])[0]
    tolerances: dict[Precision, float] = {"auto": 0.05, "f32": 1e-3}
    for precision, tolerance in tolerances.items():
        engine = CudaEngine(densenet_folder, Settings(precision=precision), THREADS, torch.device("cuda", 0))
        np.testing.assert_allclose(engine.infer(photos[:5])[0], expected, atol=tolerance)


def test_logits_survive_the_next_batch(engine: CudaEngine, photos: NDArray[np.uint8]) -> None:
    first, _ = engine.infer(photos[:3])
    kept = first.copy()
    engine.infer(photos[3:6])
    np.testing.assert_array_equal(first, kept)


def test_the_worker_with_a_gpu_gets_it(stand_in_folder: Path) -> None:
    engine = load_engine(stand_in_folder, Settings(), THREADS, 0)
    assert engine.description == {"engine": "torch", "precision": "f16", "device": "cuda:0", "threads": 2}
