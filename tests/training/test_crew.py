from __future__ import annotations

import os

import pytest
import torch

from densenet_serving.errors import CommandError
from training import crew
from training.crew import Member


def follow(member: Member) -> None:
    step = 0
    while not member.average(step, [torch.full((2, 2), float(member.rank)), torch.full((3,), 10.0 * member.rank)]):
        step += 1


def die(member: Member) -> None:
    os._exit(9)


def test_gradients_become_their_mean_until_it_is_over() -> None:
    member = crew.start(3, 10, follow)
    for step in range(3):
        own = [torch.zeros(2, 2), torch.full((3,), 6.0)]
        assert not member.average(step, own)
        assert own[0].tolist() == [[1.0, 1.0], [1.0, 1.0]]
        assert own[1].tolist() == [12.0] * 3
    assert member.average(3, own, leave=True)


def test_a_process_that_died_is_a_sentence() -> None:
    member = crew.start(2, 4, die)
    with pytest.raises(CommandError, match="Another process of the training ended"):
        member.average(0, [torch.zeros(4)])


def test_one_process_is_a_crew_too() -> None:
    member = crew.start(1, 4, die)
    own = [torch.ones(4)]
    assert not member.average(0, own)
    assert own[0].tolist() == [1.0] * 4
