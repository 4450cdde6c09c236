from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from densenet_serving.build.checkpoint import load_network
from densenet_serving.build.graph import ServingModel
from densenet_serving.build.networks import ARCHITECTURES
from densenet_serving.build.vision import torchvision
from densenet_serving.build.weights import find
from densenet_serving.options import MODEL, STAND_IN
from tests.pictures import noise

DENSENET = ARCHITECTURES[MODEL]


def test_the_names_that_commands_know() -> None:
    assert list(ARCHITECTURES) == [MODEL, STAND_IN]


def test_the_graph_says_what_torchvision_says(small_densenet: None, tmp_path: Path) -> None:
    network = torchvision.models.densenet121().eval()
    torch.save(network.state_dict(), tmp_path / "own.pth")
    model = ServingModel(*load_network(tmp_path / "own.pth", DENSENET), DENSENET.preprocessing).eval()
    pixels = torch.tensor(np.asarray(noise(224, 224)))[None]
    normalize = torchvision.transforms.Normalize(DENSENET.preprocessing.mean, DENSENET.preprocessing.std)
    with torch.inference_mode():
        logits, features = model(pixels)
        expected = network(normalize(pixels.permute(0, 3, 1, 2) / 255))
    assert features.shape == (1, network.classifier.in_features, 7, 7)
    assert logits.dtype == features.dtype == torch.float32
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_the_feature_map_explains_the_logits() -> None:
    """Class weights times the map, averaged over it, are the logits: that is what shows where a class was seen."""
    stand_in = ARCHITECTURES[STAND_IN]
    backbone, head = load_network(find("auto", architecture=stand_in).path, stand_in)
    with torch.inference_mode():
        pixels = torch.tensor(np.asarray(noise(224, 224)))[None]
        logits, features = ServingModel(backbone, head, stand_in.preprocessing)(pixels)
        maps = torch.einsum("kc,nchw->nkhw", head.weight, features)
    assert features.shape == (1, 1280, 7, 7)
    torch.testing.assert_close(maps.mean((2, 3)) + head.bias, logits, atol=1e-3, rtol=0)
