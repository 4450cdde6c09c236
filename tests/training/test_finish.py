from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from densenet_serving.errors import CommandError
from tests.training.support import CLASSES, RECIPE, ColorTeacher, advance, make_trainer, tiny, write_photos
from training import card, checkpoints, student
from training.figures import fit_temperature
from training.finish import answer_both, export, finish, prepare
from training.photos import is_held_out, list_photos, read, read_labelled
from training.serving import Pixels, answer, estimate_statistics, pixels_of

FACTS = card.Facts("colors", "40 photos", 3, 1.5, "Apache-2.0")


def serving_pixels(folder: Path, held_out: bool) -> list[Pixels]:
    chosen = [one for one in list_photos([folder]) if is_held_out(one[0]) is held_out]
    return [pixels for _, pixels in pixels_of(read(chosen), student.SPEC, "", len(chosen))]


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


def test_a_temperature_can_be_fitted_on_labels(folder: Path, tmp_path: Path) -> None:
    labelled = write_photos(tmp_path / "labelled", count=CLASSES)
    network = tiny()
    temperature, _ = prepare(network, [folder], ColorTeacher(), labelled, 8)
    logits, labels = answer(student.served(network), read_labelled(labelled), student.SPEC)
    assert labels.tolist() == list(range(CLASSES))
    assert temperature == pytest.approx(fit_temperature(logits, labels))


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
    with pytest.raises(CommandError, match=r"checkpoint\.safetensors"):
        finish([folder], tmp_path)
    trainer = make_trainer(folder, cache)
    checkpoints.save(tmp_path, *trainer.state())
    with pytest.raises(CommandError, match="still learn apart"):
        finish([folder], tmp_path)
    advance(trainer, RECIPE.views // RECIPE.batch)
    checkpoints.save(tmp_path, *trainer.state())
    output = tmp_path / "densenet121-embedded.safetensors"
    finish([folder], tmp_path, data="noise")
    weights = load_file(output)
    assert {one.dtype for one in weights.values()} == {torch.float16}
    for name, one in checkpoints.part(trainer.average, "network").items():
        torch.testing.assert_close(weights[name], one.half())
    tiny().load_state_dict(weights, strict=False)
    facts = card.read_facts(output)
    assert facts is not None
    assert (facts.teacher, facts.steps, facts.license) == ("colors", 12, "Apache-2.0")
    assert facts.data == f"{len(trainer.photos)} photos: noise"


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    weights = {f"network.{name}": one for name, one in tiny().named_parameters()}
    for change in ({"network.classifier.bias": torch.zeros(3)}, {"network.other": torch.zeros(3)}):
        with pytest.raises(CommandError, match=str(tmp_path)):
            student.averaged(weights | change, str(tmp_path))


def test_weights_too_large_for_float16_are_refused(tmp_path: Path) -> None:
    for value in (70000.0, torch.nan):
        with pytest.raises(CommandError, match=r"weight .*float16"):
            export(tmp_path / "out", {"weight": torch.tensor([1.0, value])}, FACTS)
    assert not list(tmp_path.iterdir())
