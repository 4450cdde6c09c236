from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

from densenet_serving.errors import CommandError
from handler.images import pixels_of
from tests.training.support import CLASSES, RECIPE, ColorTeacher, advance, make_trainer, tiny, write_photos
from training import card, checkpoints, student
from training import finish as module
from training.calibration import fit_temperature, one_hot
from training.files import is_held_out, read_photos
from training.finish import answer_both, estimate_statistics, export, finish, prepare
from training.serving import logits_of

FACTS = card.Facts("colors", "40 photos", 3, 1.5, "Apache-2.0")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands with a student and a teacher of this module's size."""
    monkeypatch.setattr(student, "build", tiny)
    monkeypatch.setattr(module, "Teacher", ColorTeacher)


def serving_pixels(folder: Path, held_out: bool) -> list[NDArray[np.uint8]]:
    return [
        pixels_of(data, student.SPEC)
        for name, data in read_photos([folder])
        if is_held_out(name) is held_out
    ]


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def test_statistics_become_those_of_the_serving_pixels(folder: Path) -> None:
    network = tiny()
    pixels = serving_pixels(folder, held_out=False)[:12]
    model = student.served(network)
    estimate_statistics(model, pixels)
    first = network.get_submodule("features.conv0")
    with torch.no_grad():
        entering = first(model.normalize(torch.from_numpy(np.stack(pixels))))
    torch.testing.assert_close(norms(network)[0].running_mean, entering.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norms(network)[0].running_var, entering.var(dim=(0, 2, 3)), rtol=1e-3, atol=1e-5)
    assert not any(norm.training for norm in norms(network))


def test_preparing_leaves_the_weights_and_fits_the_temperature_on_held_out_photos(folder: Path) -> None:
    network = tiny()
    before = {name: one.clone() for name, one in network.named_parameters()}
    temperature, count = prepare(network, [folder], ColorTeacher(), None, 2048)
    held_out = serving_pixels(folder, held_out=True)
    assert 0 < len(held_out) < 10
    assert count == 40 - len(held_out)
    assert temperature == pytest.approx(
        fit_temperature(*answer_both(student.served(network), ColorTeacher(), held_out))
    )
    assert all(torch.equal(one, before[name]) for name, one in network.named_parameters())


def test_the_teachers_first_answers_count_and_not_how_sure_it_is(folder: Path) -> None:
    pixels = serving_pixels(folder, held_out=True)
    logits, targets = answer_both(student.served(tiny()), ColorTeacher(), pixels)
    answers = ColorTeacher()(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255).answers
    assert logits.shape == targets.shape == (len(pixels), CLASSES)
    assert torch.equal(targets, one_hot(answers.argmax(dim=1), CLASSES))


def test_a_temperature_can_be_fitted_on_labels(folder: Path, tmp_path: Path) -> None:
    labelled = write_photos(tmp_path / "labelled", count=CLASSES)
    network = tiny()
    temperature, _ = prepare(network, [folder], ColorTeacher(), labelled, 8)
    pixels = [pixels_of(data, student.SPEC) for _, data in read_photos([labelled])]
    logits = logits_of(student.served(network), pixels)
    assert temperature == pytest.approx(fit_temperature(logits, one_hot(torch.arange(CLASSES), CLASSES)))


def test_so_few_photos_that_none_is_held_out_fit_the_temperature_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = write_photos(tmp_path, count=4)
    assert not any(is_held_out(path.name) for path in few.iterdir())
    temperature, count = prepare(tiny(), [few], ColorTeacher(), None, 8)
    assert temperature > 0
    assert count == 4
    assert "So few photos leave none to hold out" in capsys.readouterr().err


@pytest.mark.usefixtures("small")
def test_a_checkpoint_becomes_a_file_of_float16_with_its_facts(folder: Path, cache: Path, tmp_path: Path) -> None:
    trainer = make_trainer(folder, cache)
    checkpoints.save(tmp_path, *trainer.state(1.0))
    with pytest.raises(CommandError, match="still learn apart"):
        finish([folder], tmp_path)
    advance(trainer, RECIPE.views // RECIPE.batch)
    checkpoints.save(tmp_path, *trainer.state(1.0))
    output = tmp_path / "densenet121-embedded.safetensors"
    finish([folder], tmp_path, data="noise")
    weights = load_file(output)
    assert {one.dtype for one in weights.values()} == {torch.float16}
    for name, one in checkpoints.part(trainer.average, "network").items():
        torch.testing.assert_close(weights[name], one.half())
    tiny().load_state_dict(weights, strict=False)
    facts = card.read_facts(output)
    assert facts is not None
    assert (facts.teacher, facts.steps, facts.license) == ("colors", 20, "Apache-2.0")
    assert facts.data == f"{len(trainer.photos)} photos: noise"


def test_a_folder_without_a_training_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"holds no checkpoint\.safetensors: train with python -m training\.distill"):
        finish([folder], tmp_path)


def test_weights_too_large_for_float16_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="weight has values that float16 cannot hold"):
        export(tmp_path / "out", {"weight": torch.tensor([1.0, 70000.0])}, FACTS)
    with pytest.raises(CommandError, match="float16 cannot hold"):
        export(tmp_path / "out", {"weight": torch.tensor([torch.nan])}, FACTS)
    assert not list(tmp_path.iterdir())


def test_a_whole_densenet_fits_the_size_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "densenet121.safetensors"
    export(path, student.build(1000).state_dict(), FACTS)
    assert path.stat().st_size < 2**24 < 17_000_000
    assert json.loads(json.dumps(card.read_facts(path).__dict__)) == FACTS.__dict__
