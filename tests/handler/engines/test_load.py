from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec as real_find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from densenet_serving.build.networks import ARCHITECTURES
from densenet_serving.build.vision import torchvision
from handler import engines
from handler.cores import Threads
from handler.engines import MAX_BATCH, Engine, load_engine, openvino, slices
from handler.engines import torch as torch_engines
from handler.engines.openvino import OpenVinoEngine
from handler.engines.torch import FIXED_SIZES, padded_size
from handler.errors import ArchiveError
from handler.labels import softmax
from handler.preprocessing import preprocess
from handler.settings import EngineName, Settings
from tests.pictures import noise, photo

THREADS = Threads(batch=1, alone=2)
SPEC = ARCHITECTURES["densenet121"].preprocessing
ENGINES: list[EngineName] = ["openvino", "torch"]


@pytest.fixture
def exact(exact_densenet: Callable[[EngineName], Engine], request: pytest.FixtureRequest) -> Engine:
    return exact_densenet(request.param)


@pytest.fixture(scope="module")
def batch() -> NDArray[np.uint8]:
    images = [noise(224, 224), photo("chelsea"), photo("coffee")]
    return np.stack([preprocess(image, SPEC) for image in images])


@pytest.fixture(scope="module")
def eager_logits(seeded_checkpoint: Path, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What plain PyTorch with torchvision's own normalisation says."""
    network = torchvision.models.densenet121().eval()
    network.load_state_dict(torch.load(seeded_checkpoint, weights_only=True))
    normalize = torchvision.transforms.Normalize(SPEC.mean, SPEC.std)
    with torch.inference_mode():
        logits = network(normalize(torch.from_numpy(batch).permute(0, 3, 1, 2) / 255))
    result: NDArray[np.float32] = logits.numpy()
    return result


@pytest.mark.parametrize("exact", ENGINES, indirect=True)
def test_the_engine_agrees_with_eager_pytorch(
    exact: Engine, batch: NDArray[np.uint8], eager_logits: NDArray[np.float32], request: pytest.FixtureRequest
) -> None:
    logits, features = exact.infer(batch)
    assert logits.dtype == np.float32
    assert logits.shape == (3, 1000)
    assert features.shape == (3, 0, 0, 0)
    np.testing.assert_allclose(softmax(logits), softmax(eager_logits), atol=1e-5)
    np.testing.assert_allclose(logits, eager_logits, atol=1e-3)
    name = request.node.callspec.params["exact"]
    expected = {"engine": name, "precision": "f32", "device": "cpu", "threads": 1}
    assert exact.description == expected | ({"threads_alone": 2} if name == "openvino" else {})


@pytest.mark.parametrize("exact", ENGINES, indirect=True)
def test_rows_do_not_depend_on_the_batch_around_them_or_the_next_one(exact: Engine, batch: NDArray[np.uint8]) -> None:
    together, _ = exact.infer(batch)
    kept = together.copy()
    for row, image in zip(kept, batch, strict=True):
        np.testing.assert_allclose(exact.infer(image[None])[0][0], row, atol=1e-4)
    np.testing.assert_array_equal(together, kept)


@pytest.mark.parametrize("kind", ENGINES)
def test_a_large_batch_is_sliced_and_gives_the_same(
    stand_in_folder: Path, kind: EngineName, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_engine(stand_in_folder, Settings(engine=kind, precision="f32"), THREADS, None)
    images = np.random.default_rng(0).integers(0, 256, (5, 224, 224, 3), np.uint8)
    whole = model.infer(images, features=True)
    monkeypatch.setattr(engines, "MAX_BATCH", 2)
    sliced = model.infer(images, features=True)
    assert [array.shape for array in sliced] == [(5, 1000), (5, 1280, 7, 7)]
    for part, expected in zip(sliced, whole, strict=True):
        np.testing.assert_allclose(part, expected, atol=1e-4)


def test_automatic_precision_names_the_same_classes(stand_in_folder: Path, photos: NDArray[np.uint8]) -> None:
    """Processors with bf16 round; the photographs must not change their names for it."""
    automatic = OpenVinoEngine(stand_in_folder, Settings(precision="auto"), THREADS)
    exact = OpenVinoEngine(stand_in_folder, Settings(precision="f32"), THREADS)
    assert exact.description["precision"] == "f32"
    rounded, full = (engine.infer(photos)[0].argmax(axis=1) for engine in (automatic, exact))
    assert (rounded == full).mean() >= 0.7


def pretend_openvino(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    monkeypatch.setattr(
        engines, "find_spec", lambda name: real_find_spec(name) if installed or name != "openvino" else None
    )


def test_openvino_that_was_asked_for_and_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend_openvino(monkeypatch, installed=False)
    with pytest.raises(ArchiveError, match=r"openvino.* not installed"):
        load_engine(tmp_path, Settings(engine="openvino"), THREADS, None)


@pytest.mark.parametrize(
    ("wanted", "installed", "gpu_id", "available", "chosen"),
    [
        ("auto", True, None, False, "openvino"),
        ("auto", False, None, False, "cpu in torch"),
        ("openvino", True, None, False, "openvino"),
        ("torch", True, None, False, "cpu in torch"),
        ("torch", False, None, False, "cpu in torch"),
        ("auto", True, 1, True, "cuda:1 in torch"),
        ("torch", True, 1, True, "cuda:1 in torch"),
        ("openvino", True, 1, True, "openvino"),
        ("auto", True, 1, False, "openvino"),
        ("torch", True, 1, False, "cpu in torch"),
        ("auto", True, None, True, "openvino"),
    ],
)
def test_the_engine_chosen(
    monkeypatch: pytest.MonkeyPatch,
    wanted: EngineName,
    installed: bool,
    gpu_id: int | None,
    available: bool,
    chosen: str,
) -> None:
    def stand_in(name: str) -> Callable[..., SimpleNamespace]:
        return lambda *given: SimpleNamespace(description={"engine": name.format(given[-1])})

    pretend_openvino(monkeypatch, installed)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(openvino, "OpenVinoEngine", stand_in("openvino"))
    monkeypatch.setattr(torch_engines, "TorchEngine", stand_in("cpu in torch"))
    monkeypatch.setattr(torch_engines, "CudaEngine", stand_in("{} in torch"))
    assert load_engine(Path(), Settings(engine=wanted), THREADS, gpu_id).description["engine"] == chosen


def test_another_engine_is_one_file_and_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("handler.engines.json")  # named as a package that is installed
    vars(other).update(suits=lambda _: True, load=lambda *_: SimpleNamespace(description={"engine": "json"}))
    monkeypatch.setitem(sys.modules, other.__name__, other)
    monkeypatch.setattr(engines, "ENGINES", ["json", *engines.ENGINES])
    assert load_engine(Path(), Settings(), THREADS, None).description == {"engine": "json"}


@pytest.mark.parametrize(
    ("rows", "expected"), [(0, []), (1, [1]), (MAX_BATCH, [MAX_BATCH]), (2 * MAX_BATCH + 1, [MAX_BATCH, MAX_BATCH, 1])]
)
def test_slices(rows: int, expected: list[int]) -> None:
    assert [len(part) for part in slices(np.zeros((rows, 1, 1, 3), np.uint8))] == expected


def test_padded_size() -> None:
    assert FIXED_SIZES[-1] == MAX_BATCH
    for rows in range(1, MAX_BATCH + 1):
        assert padded_size(rows) == min(size for size in FIXED_SIZES if size >= rows)
