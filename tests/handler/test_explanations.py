from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from numpy.typing import NDArray
from PIL import Image

from densenet_serving.build.checkpoint import load_network
from densenet_serving.build.graph import ServingModel
from densenet_serving.build.networks import ARCHITECTURES
from handler.card import ModelCard
from handler.cores import Threads
from handler.engines import Engine, load_engine
from handler.errors import ArchiveError
from handler.explanations import HEAD_FILE, Head, color, paint
from handler.preprocessing import preprocess
from handler.settings import EngineName, Precision, Settings
from tests.pictures import noise, photo

THREADS = Threads(1, 1)


@pytest.fixture(scope="module")
def batch(densenet_folder: Path) -> NDArray[np.uint8]:
    spec = ModelCard.read(densenet_folder).preprocessing
    return np.stack([preprocess(image, spec) for image in (photo("chelsea"), photo("coffee"), noise(224, 224))])


@pytest.fixture(scope="module")
def grad_cam(seeded_checkpoint: Path, batch: NDArray[np.uint8]) -> dict[int, NDArray[np.float32]]:
    """Grad-CAM (n, 7, 7) by class, as captum computes it with gradients of the eager model."""
    architecture = ARCHITECTURES["densenet121"]
    model = ServingModel(*load_network(seeded_checkpoint, architecture), architecture.preprocessing).eval()
    # Its uint8 input has no gradient: captum begins behind the normalisation.
    images = model.normalize(torch.from_numpy(batch))
    tail = torch.nn.Sequential(model.backbone, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), model.head)
    with torch.inference_mode():
        best = int(tail(images[:1]).argmax())
    captum = LayerGradCam(tail, model.backbone)
    return {
        index: captum.attribute(images, index, relu_attributions=True).detach().numpy()[:, 0]
        for index in (best, 0, 281)
    }


@pytest.mark.parametrize("name", ["openvino", "torch"])
def test_it_is_grad_cam(
    name: EngineName,
    exact_densenet: Callable[[EngineName], Engine],
    densenet_folder: Path,
    batch: NDArray[np.uint8],
    grad_cam: dict[int, NDArray[np.float32]],
) -> None:
    engine = exact_densenet(name)
    logits, features = engine.infer(batch, features=True)
    assert int(logits[0].argmax()) in grad_cam
    np.testing.assert_allclose(logits, engine.infer(batch)[0], atol=1e-4)
    head = Head.read(densenet_folder, logits.shape[1])
    for index, reference in grad_cam.items():
        for row, expected in enumerate(reference):
            activation = head.activation(features[row], index)
            if expected.max() == 0:
                assert activation.max() == 0
            else:
                np.testing.assert_allclose(activation, expected / expected.max(), atol=1e-3)
                assert np.corrcoef(activation.ravel(), expected.ravel())[0, 1] >= 0.99


def test_the_cat_is_where_the_cat_class_looks(stand_in_folder: Path, precision: Precision | None) -> None:
    """Beside a flat grey half, what speaks for a tabby is in the half that shows the cat."""
    spec = ModelCard.read(stand_in_folder).preprocessing
    settings = Settings(precision=precision or "auto")
    cat = photo("chelsea").resize((224, 224))
    picture = Image.new("RGB", (448, 224), (128, 128, 128))
    picture.paste(cat, (224, 0))
    pixels = preprocess(picture.resize((spec.resize, spec.resize)), spec)[None]
    logits, features = load_engine(stand_in_folder, settings, THREADS, None).infer(pixels, features=True)
    activation = Head.read(stand_in_folder, logits.shape[1]).activation(features[0], 281)
    assert activation[:, 4:].sum() > 3 * activation[:, :3].sum()


def test_the_strongest_place_is_1_unless_all_is_0() -> None:
    features = np.zeros((2, 3, 3), np.float32)
    features[1, 2, 0] = 5
    activation = Head(np.array([[0, 0], [0.5, 2]], np.float32)).activation(features, 1)
    assert activation[2, 0] == activation.sum() == 1
    activation = Head(np.array([[-1.0, -2.0]], np.float32)).activation(np.ones((2, 3, 3), np.float32), 0)
    assert activation.shape == (3, 3)
    assert not activation.any()


@pytest.mark.parametrize("temperature", [0.3, 1.7])
def test_calibration_changes_no_heatmap(temperature: float) -> None:
    """head.npy holds the calibrated layer; one factor for a whole class is lost when the strongest place becomes 1."""
    values = np.random.default_rng(0)
    weights, features = (values.standard_normal(shape, np.float32) for shape in ((5, 8), (8, 7, 7)))
    for index in range(5):
        expected = Head(weights).activation(features, index)
        np.testing.assert_allclose(Head(weights / temperature).activation(features, index), expected, atol=1e-5)


@pytest.mark.parametrize(
    "weights_in_file", [None, np.zeros((3, 8), np.float32), np.zeros(1000, np.float32)], ids=["none", "rows", "flat"]
)
def test_an_archive_without_its_head_does_not_load(weights_in_file: NDArray[np.float32] | None, tmp_path: Path) -> None:
    if weights_in_file is not None:
        np.save(tmp_path / HEAD_FILE, weights_in_file)
    with pytest.raises(ArchiveError, match="rebuild the archive"):
        Head.read(tmp_path, 1000)


PIXELS = np.asarray(noise(64, 64))
CORNER = np.eye(7, dtype=np.float32)[:1].repeat(7, axis=0)


def test_the_overlay_goes_from_image_to_colors() -> None:
    image, half, colors = (
        np.asarray(Image.open(io.BytesIO(paint(PIXELS, CORNER, share))), np.float32) for share in (0, 0.5, 1)
    )
    np.testing.assert_array_equal(image, PIXELS)
    np.testing.assert_allclose(half, (image + colors) / 2, atol=1)
    assert colors[:, :4].mean() > 150, "bright where the class was seen"
    assert colors[:, 32:].mean() < 20


def test_colours_grow_lighter() -> None:
    lightness = color(np.linspace(0, 1, 50, dtype=np.float32)[None]).sum(axis=-1)[0]
    assert (np.diff(lightness) > 0).all()
