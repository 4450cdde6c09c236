from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from densenet_serving.build.graph import ServingModel
from densenet_serving.build.networks import ARCHITECTURES
from densenet_serving.build.vision import torchvision
from handler import preprocessing
from handler.card import Preprocessing
from handler.preprocessing import MAX_EXACT_ASPECT, preprocess
from tests.pictures import noise, photo

T = torchvision.transforms
SPEC = ARCHITECTURES["densenet121"].preprocessing
STAND_IN = ARCHITECTURES["efficientnet_lite0"].preprocessing

GEOMETRY = T.Compose([T.Resize(255), T.CenterCrop(224)])
TUTORIAL = T.Compose([T.Resize(255), T.CenterCrop(224), T.ToTensor(), T.Normalize(SPEC.mean, SPEC.std)])

SIZES = [(1, 1), (2, 3), (3, 2), (7, 50), (100, 13), (223, 224), (224, 224), (225, 255), (255, 255), (255, 256)]
SIZES += [(256, 255), (254, 499), (499, 331), (333, 500), (501, 375), (511, 640), (640, 427), (801, 101), (97, 776)]


@pytest.mark.parametrize("size", SIZES)
def test_geometry_is_that_of_torchvision_to_the_pixel(size: tuple[int, int]) -> None:
    image = noise(*size)
    pixels = preprocess(image, SPEC)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (224, 224, 3)
    np.testing.assert_array_equal(pixels, np.asarray(GEOMETRY(image)))


@pytest.mark.parametrize("size", SIZES[5:12])
def test_so_is_that_of_a_model_with_other_numbers(size: tuple[int, int]) -> None:
    bicubic = T.Resize(STAND_IN.resize, T.InterpolationMode.BICUBIC)
    expected = T.Compose([bicubic, T.CenterCrop(STAND_IN.crop)])(noise(*size))
    np.testing.assert_array_equal(preprocess(noise(*size), STAND_IN), np.asarray(expected))


@pytest.mark.parametrize("name", ["chelsea", "china", "grace_hopper"])
def test_the_tensor_behind_it_is_the_tutorials(name: str) -> None:
    graph = ServingModel(nn.Identity(), nn.Linear(1, 1), SPEC)
    batch = torch.tensor(preprocess(photo(name), SPEC)).unsqueeze(0)
    torch.testing.assert_close(graph.normalize(batch)[0], TUTORIAL(photo(name)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(40, 361), (361, 40), (30, 2000), (2000, 30), (3, 100), (255, 2550)])
@pytest.mark.parametrize("spec", [SPEC, STAND_IN, Preprocessing(224, 224, "bilinear", SPEC.mean, SPEC.std)])
def test_an_extreme_aspect_is_close_to_the_exact_road(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], spec: Preprocessing
) -> None:
    image = photo("china").resize(size)
    assert max(size) > MAX_EXACT_ASPECT * min(size)
    pixels = preprocess(image, spec).astype(int)
    monkeypatch.setattr(preprocessing, "MAX_EXACT_ASPECT", 10**6)
    exact = preprocess(image, spec).astype(int)
    assert pixels.shape == (224, 224, 3)
    assert np.abs(pixels - exact).max() <= 2


@pytest.mark.parametrize("size", [(1, 50_000), (50_000, 1), (1, 9), (9, 1), (2, 65_535)])
def test_the_exact_road_would_not_fit_into_memory(size: tuple[int, int]) -> None:
    pixels = preprocess(Image.new("RGB", size, (10, 20, 30)), SPEC)
    np.testing.assert_array_equal(pixels, np.full((224, 224, 3), (10, 20, 30)))
