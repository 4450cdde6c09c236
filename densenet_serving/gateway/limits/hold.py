"""What one request holds, and how it makes room for others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from densenet_serving.gateway.limits import clients
from densenet_serving.gateway.limits.budget import IN_USE, WAITING, Budget, Pace

current: ContextVar[Hold | None] = ContextVar("hold", default=None)


class Hold:
    """One request as a holder of `budgets`.

    Until its answer begins, it makes room by the end of `until`, the time-out around its route. Afterwards its
    connection is closed by `abort`.
    """

    def __init__(self, budgets: Sequence[Budget], until: asyncio.Timeout, abort: Callable[[], None]) -> None:
        self.owner = clients.current.get()
        self.upload = Pace()
        self.complete = False  # the body
        self._budgets = budgets
        self._until = until
        self._abort = abort
        self._answer: Pace | None = None
        self.photos = 0  # that are with TorchServe

    @property
    def pace(self) -> float:
        if self.photos:
            return IN_USE
        if self._answer:
            return self._answer.rate
        return WAITING if self.complete else self.upload.rate

    def make_room(self) -> None:
        self.give_back()
        if self._answer:
            self._abort()
        else:
            self._until.reschedule(asyncio.get_running_loop().time())

    def give_back(self) -> None:
        for budget in self._budgets:
            budget.give_back(self)

    def answering(self) -> None:
        """Note that the answer begins."""
        self._answer = self._answer or Pace()


@contextmanager
def in_use() -> Iterator[None]:
    """Keep the current request while TorchServe has a photo of it: that work would be lost."""
    hold = current.get()
    if hold is not None:
        hold.photos += 1
    try:
        yield
    finally:
        if hold is not None:
            hold.photos -= 1
