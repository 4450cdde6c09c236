"""The checkpoint that this repository brings along, once it has one: is it the file, small enough, and does it see?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from densenet_serving import paths
from densenet_serving.build import weights
from densenet_serving.build.checkpoint import load_network
from densenet_serving.build.graph import ServingModel, calibrated
from densenet_serving.build.networks import ARCHITECTURES, Architecture
from densenet_serving.build.weights import EMBEDDED_FILE, Checkpoint
from densenet_serving.files import digest_file, digest_line
from densenet_serving.options import MODEL, STAND_IN
from handler.labels import Labels
from handler.preprocessing import preprocess
from tests.checkpoints import write_embedded
from tests.pictures import FITTING, photo

MAX_BYTES = 17_000_000
MIN_TOP1 = 0.3
# Of seven photographs. A network with 30 % top-1 and 55 % top-5 has four on average; one that guesses has none.
MIN_SEEN = 3


@pytest.fixture
def embedded() -> Checkpoint:
    if not (paths.WEIGHTS / EMBEDDED_FILE).is_file():
        pytest.skip(f"this repository has no weights/{EMBEDDED_FILE} yet: training/README.md says how it is made")
    return weights.find("embedded")


def seen(checkpoint: Checkpoint, architecture: Architecture) -> list[str]:
    """The photographs of which one of the first five names fits, as serving answers."""
    backbone, head = load_network(checkpoint.path, architecture)
    head = calibrated(head, checkpoint.card.temperature or 1)
    model = ServingModel(backbone, head, architecture.preprocessing).eval()
    batch = np.stack([preprocess(photo(name), architecture.preprocessing) for name in FITTING])
    with torch.inference_mode():
        logits, _ = model(torch.from_numpy(batch))
    labels = Labels.read(paths.LABELS)
    best = logits.topk(5).indices.tolist()
    named = {name: {labels[index][1] for index in row} for name, row in zip(FITTING, best, strict=True)}
    return [name for name in FITTING if named[name] & FITTING[name]]


def test_the_embedded_checkpoint_is_the_file_whose_digest_stands_beside_it(embedded: Checkpoint) -> None:
    beside = digest_file(embedded.path)
    assert beside.is_file(), f"in weights/: sha256sum {EMBEDDED_FILE} > {beside.name}"
    assert beside.read_text() == digest_line(embedded.card.sha256, embedded.path)
    assert embedded.path.stat().st_size <= MAX_BYTES


def test_the_embedded_checkpoint_is_good_enough_to_be_here(embedded: Checkpoint) -> None:
    assert embedded.card.accuracy
    assert embedded.card.accuracy.top1 >= MIN_TOP1
    assert len(seen(embedded, ARCHITECTURES[MODEL])) >= MIN_SEEN


def test_a_network_that_sees_is_told_from_one_that_guesses(tmp_path: Path) -> None:
    """What is asked of the embedded checkpoint, asked of real weights and of random ones."""
    assert seen(weights.find("auto", architecture=ARCHITECTURES[STAND_IN]), ARCHITECTURES[STAND_IN]) == list(FITTING)
    guessing = weights.from_path(write_embedded(tmp_path))
    assert len(seen(guessing, ARCHITECTURES[MODEL])) < MIN_SEEN
