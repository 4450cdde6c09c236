from __future__ import annotations

import pytest
import torch

from tests.training.support import CLASSES, ColorTeacher, tiny
from training import fused, student
from training.student import Student


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "kernels", lambda: None)  # float32, for exact comparisons


def test_forced_sections_learn_apart() -> None:
    torch.manual_seed(0)
    one = Student(tiny()).train()
    views = torch.rand(4, 3, 64, 64)
    predicted, _ = one(views, ColorTeacher()(views).maps)
    predicted[1].sum().backward()
    assert one.features.denseblock1.denselayer1.conv1.weight.grad is None
    assert one.features.denseblock2.denselayer1.conv1.weight.grad is not None


def test_folding_changes_no_map_and_no_answer() -> None:
    torch.manual_seed(0)
    one = Student(tiny()).train()
    views = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        before, logits = one(views)
        one.fold()
        after, folded = one(views)
    assert not len(one.from_maps)
    # The tiny student is narrower than the teacher's maps, so that only the answers can stay as they are.
    torch.testing.assert_close(folded, logits, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(after[3], before[3], rtol=1e-3, atol=1e-4)


def test_the_served_graph_shares_the_weights() -> None:
    network = tiny()
    model = student.served(network)
    logits, features = model(torch.zeros(2, 64, 64, 3, dtype=torch.uint8))
    assert logits.shape == (2, CLASSES)
    assert features.shape[2:] == (2, 2)
    assert model.head is network.get_submodule("classifier")
