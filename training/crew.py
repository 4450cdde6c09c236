"""Processes that train together, one for each core: each takes a share of a batch, and their gradients are averaged.

A process with one thread waits for nobody inside a step. With one process on two cores the threads meet at the end of
every operator, and any other program on a core makes all of them wait.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch
from torch import Tensor, multiprocessing

from densenet_serving.console import warn
from densenet_serving.errors import CommandError


class Lost(CommandError):
    """Another process of the crew ended."""


@dataclass(frozen=True)
class Member:
    """One process of a crew.

    `gradients` is shared memory (2, ranks, weights). Even and odd steps use different halves, so that nobody
    overwrites what others still read. Rank 0 has a connection to each other process, and these have one to it.
    """

    rank: int
    gradients: Tensor
    others: tuple[Connection, ...]

    @property
    def ranks(self) -> int:
        return self.gradients.shape[1]

    def agree(self, leave: bool = False) -> bool:
        """Wait for all; returns whether to leave, which rank 0 decides. Raises Lost if another one died."""
        try:
            if self.rank:
                self.others[0].send(None)
                return bool(self.others[0].recv())
            for other in self.others:
                other.recv()
            for other in self.others:
                other.send(leave)
        except (EOFError, OSError) as error:
            raise Lost(
                "Another process of the training ended, perhaps for lack of memory: run the same command again, with "
                "fewer --processes if it repeats."
            ) from error
        return leave

    def average(self, step: int, own: list[Tensor], leave: bool = False) -> bool:
        """Replace gradients by their mean over all processes, unless it is time to leave; returns whether it is."""
        if self.ranks == 1:
            return leave
        half = self.gradients[step % 2][:, : sum(one.numel() for one in own)]  # fewer once the student is folded
        torch.cat([one.reshape(-1) for one in own], out=half[self.rank])
        if self.agree(leave):
            return True
        mean = half.mean(dim=0)
        for one, part in zip(own, torch.split(mean, [one.numel() for one in own]), strict=True):
            one.copy_(part.view_as(one))
        return False


def start(ranks: int, weights: int, work: Callable[[Member], None]) -> Member:
    """Start the other processes, each of which runs `work`, and return this process's place as rank 0."""
    context = multiprocessing.get_context("spawn")
    gradients = torch.zeros(2, ranks, weights if ranks > 1 else 0).share_memory_()  # type: ignore[no-untyped-call]
    ours = []
    for rank in range(1, ranks):
        mine, its = context.Pipe()
        member = Member(rank, gradients, (its,))
        context.Process(target=_run, args=(work, member), daemon=True).start()
        its.close()  # so that the end of either process is seen by the other
        ours.append(mine)
    return Member(0, gradients, tuple(ours))


def _run(work: Callable[[Member], None], member: Member) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 decides when to end
    torch.set_num_threads(1)
    try:
        work(member)
    except Lost:  # rank 0 has ended, and says so
        os._exit(1)
    except CommandError as error:
        warn(str(error))
        os._exit(1)
