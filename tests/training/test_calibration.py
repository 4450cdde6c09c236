from __future__ import annotations

import pytest
import torch

from training.calibration import calibration_error, fit_temperature, one_hot


def test_calibration_error_of_a_case_worked_out_by_hand() -> None:
    """Two bins of fifteen: 0.9, 0.92 (13.5 and 13.8: the fourteenth) and 0.6, 0.58 (9 and 8.7: the ninth)."""
    best = torch.tensor([0.9, 0.92, 0.6, 0.58])
    probabilities = torch.stack((best, 1 - best), dim=1)
    labels = torch.tensor([0, 1, 0, 0])  # right, wrong, right, right
    # Half the photos are 0.91 sure and half of them right, half are 0.59 sure and all of them right.
    expected = 0.5 * abs(0.5 - 0.91) + 0.5 * abs(1.0 - 0.59)
    assert calibration_error(probabilities, labels) == pytest.approx(expected, abs=1e-6)


def test_certainty_that_is_right_has_no_error_and_certainty_that_is_wrong_all() -> None:
    certain = one_hot(torch.tensor([0, 1, 2]), 3)
    assert calibration_error(certain, torch.tensor([0, 1, 2])) == 0
    assert calibration_error(certain, torch.tensor([1, 2, 0])) == 1


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_applied_is_found(temperature: float) -> None:
    logits = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    targets = (logits / temperature).softmax(dim=1)
    assert fit_temperature(logits, targets) == pytest.approx(temperature, rel=1e-3)


def test_labels_that_an_overconfident_network_misses_make_it_cooler() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(2000, 4, generator=generator)
    labels = truth.softmax(dim=1).multinomial(1, generator=generator)[:, 0]
    fitted = fit_temperature(5 * truth, one_hot(labels, 4))
    assert fitted == pytest.approx(5, rel=0.1)
    before = calibration_error((5 * truth).softmax(dim=1), labels)
    assert calibration_error((5 * truth / fitted).softmax(dim=1), labels) < before / 3
