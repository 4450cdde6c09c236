from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from densenet_serving.build.checkpoint import load_network
from densenet_serving.build.networks import ARCHITECTURES, Architecture, ServingModel, calibrated
from densenet_serving.build.vision import torchvision
from densenet_serving.build.weights import stand_in
from densenet_serving.options import MODEL, STAND_IN
from tests.pictures import noise

DENSENET = ARCHITECTURES["densenet121"]


def test_the_names_that_commands_know() -> None:
    assert list(ARCHITECTURES) == [MODEL, STAND_IN]


def test_the_graph_says_what_torchvision_says(seeded_checkpoint: Path) -> None:
    network = torchvision.models.densenet121().eval()
    network.load_state_dict(torch.load(seeded_checkpoint, weights_only=True))
    model = ServingModel(*load_network(seeded_checkpoint, DENSENET), DENSENET.preprocessing).eval()
    pixels = torch.tensor(np.asarray(noise(224, 224)))[None]
    with torch.inference_mode():
        logits, features = model(pixels)
        expected = network(
            torchvision.transforms.functional.normalize(
                pixels.permute(0, 3, 1, 2) / 255, DENSENET.preprocessing.mean, DENSENET.preprocessing.std
            )
        )
    assert features.shape == (1, 1024, 7, 7)
    assert logits.dtype == features.dtype == torch.float32
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_the_feature_map_explains_the_logits() -> None:
    """Class weights times the map, averaged over it, are the logits: that is what shows where a class was seen."""
    architecture = ARCHITECTURES[STAND_IN]
    backbone, head = load_network(stand_in().path, architecture)
    with torch.inference_mode():
        pixels = torch.tensor(np.asarray(noise(224, 224)))[None]
        logits, features = ServingModel(backbone, head, architecture.preprocessing)(pixels)
        maps = torch.einsum("kc,nchw->nkhw", head.weight, features)
    assert features.shape == (1, 1280, 7, 7)
    torch.testing.assert_close(maps.mean((2, 3)) + head.bias, logits, atol=1e-3, rtol=0)


def test_a_calibrated_head_is_a_copy() -> None:
    head = nn.Linear(3, 2)
    pixels, before = torch.rand(4, 3), head.weight.clone()
    torch.testing.assert_close(calibrated(head, 2.5)(pixels), head(pixels) / 2.5)
    assert torch.equal(calibrated(head, 1).weight, head.weight)
    assert torch.equal(head.weight, before)


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)
def test_normalisation_of_every_level(architecture: Architecture) -> None:
    spec = architecture.preprocessing
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(1, 16, 16, 3)
    normalized = ServingModel(nn.Identity(), nn.Linear(1, 1), spec).normalize(levels)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (spec.mean, spec.std))
    expected = (levels.permute(0, 3, 1, 2) / 255 - mean) / std
    torch.testing.assert_close(normalized, expected, atol=1e-5, rtol=0)
