from __future__ import annotations

import os

import pytest
import torch

from densenet_serving.errors import CommandError
from training import crew
from training.crew import Member


def follow_twice_and_die(member: Member) -> None:
    for step in range(2):
        assert not member.average(step, [torch.full((2, 2), float(member.rank)), torch.full((3,), 10.0)])
    os._exit(9)


def test_gradients_become_their_mean_until_another_process_dies() -> None:
    member = crew.start(2, 7, follow_twice_and_die)
    for step in range(2):
        own = [torch.zeros(2, 2), torch.full((3,), 6.0)]
        assert not member.average(step, own)
        assert own[0].tolist() == [[0.5, 0.5], [0.5, 0.5]]
        assert own[1].tolist() == [8.0] * 3
    with pytest.raises(CommandError, match="Another process of the training ended"):
        member.average(2, own)


def test_one_process_is_a_crew_too() -> None:
    member = crew.start(1, 4, follow_twice_and_die)
    own = [torch.ones(4)]
    assert not member.average(0, own)
    assert own[0].tolist() == [1.0] * 4
