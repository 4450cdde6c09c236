from __future__ import annotations

import pytest
import torch

from densenet_serving.errors import CommandError
from training.figures import calibration_error, fit_temperature, measure


def test_figures_of_a_case_worked_out_by_hand() -> None:
    # Seven classes; the labels are first, second, sixth and seventh of the answers.
    logits = torch.arange(7.0, 0, -1).repeat(4, 1)
    teacher = torch.eye(7)[[0, 0, 5, 5]]
    figures = measure("student", logits, torch.tensor([0, 1, 5, 6]), teacher, 1000.0)
    assert (figures.top1, figures.top5, figures.agreement, figures.teacher_top1) == (0.25, 0.5, 0.5, 0.5)
    confidence = float(logits.softmax(1).max())
    assert figures.ece == pytest.approx(confidence - 0.25, abs=1e-6)
    assert figures.ece_calibrated == pytest.approx(0.25 - 1 / 7, abs=1e-2)


def test_a_class_that_the_model_does_not_have_is_said() -> None:
    with pytest.raises(CommandError, match=r"class 5 .* 3 classes"):
        measure("student", torch.eye(3), torch.tensor([0, 1, 5]), None, None)


def test_calibration_error_of_a_case_worked_out_by_hand() -> None:
    """Two bins of fifteen: 0.9, 0.92 (13.5 and 13.8: the fourteenth) and 0.6, 0.58 (9 and 8.7: the ninth)."""
    best = torch.tensor([0.9, 0.92, 0.6, 0.58])
    probabilities = torch.stack((best, 1 - best), dim=1)
    labels = torch.tensor([0, 1, 0, 0])  # right, wrong, right, right
    # Half the photos are 0.91 sure and half of them right, half are 0.59 sure and all of them right.
    expected = 0.5 * abs(0.5 - 0.91) + 0.5 * abs(1.0 - 0.59)
    assert calibration_error(probabilities, labels) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 5.0])
def test_the_temperature_that_made_a_network_too_sure_is_found(temperature: float) -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(20_000, 4, generator=generator)
    labels = truth.softmax(dim=1).multinomial(1, generator=generator)[:, 0]
    fitted = fit_temperature(temperature * truth, labels)
    assert fitted == pytest.approx(temperature, rel=0.05)
    assert calibration_error((temperature * truth / fitted).softmax(dim=1), labels) < 0.01
