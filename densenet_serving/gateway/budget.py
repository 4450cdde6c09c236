"""How much clients may have at a time (connections, requests, bytes of bodies), and what one request has."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from densenet_serving.gateway import clients
from densenet_serving.gateway.errors import Busy

BUSY = "The gateway is busy: try again in a second."
IDLE = 0.0  # the pace of a holder that loses nothing if it ends
WAITING = 1e12  # of one whose client has done its part
IN_USE = math.inf  # of one that TorchServe works for, which is not ended
# A photo of 1 MB takes a minute at this rate. A slower one makes room also if its client holds no more than others.
SLOW = 16_000.0  # bytes a second
# A transfer counts as begun with so many bytes a second before, so that a new one is not called slow.
START_BYTES = 65_536


class Pace:
    """How fast a client sends a body or reads an answer; `size` are the bytes since it began."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = clock()
        self.size = 0

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._begun

    @property
    def rate(self) -> float:
        """Bytes a second; of a transfer that has stopped they fall from START_BYTES towards 0."""
        return (self.size + START_BYTES) / (self.age + 1)

    def seconds_left(self, least_rate: float, grace: float) -> float:
        """Return how long the next byte may take at `least_rate` bytes a second, which count after `grace` seconds."""
        return grace + self.size / least_rate - self.age


class Holder(Protocol):
    """A connection or a request, which holds a part of a budget."""

    owner: str

    @property
    def pace(self) -> float:
        """The bytes a second that its client sends or reads, or one of the constants above."""

    def make_room(self) -> None:
        """End at once. The budget takes back what it held."""


class Budget:
    """At most `most` units in use at a time, and at most `most_of_one` by one client; by default one may use all.

    If they are all in use, the client with the most makes room: an idle holder, or else its slowest one. So a client
    that asks for little gets it, however many others keep all that they are allowed.
    """

    def __init__(self, most: int, most_of_one: int | None = None) -> None:
        self._most = most
        self._most_of_one = most if most_of_one is None else most_of_one
        self._held: dict[str, dict[Holder, int]] = {}  # by owner, the longest unused first
        self._used: dict[str, int] = {}
        self._total = 0

    def take(self, holder: Holder, amount: int = 1) -> None:
        """Give a holder more. Raises ServiceUnavailable if nobody makes room."""
        if not self.try_take(holder, amount):
            raise Busy(BUSY)

    def try_take(self, holder: Holder, amount: int = 1) -> bool:
        """Give a holder more, if there is so much left or others make room."""
        while self.used_by(holder.owner) + amount > self._most_of_one:
            if not self._make_room([holder.owner], holder, amount):
                return False
        while self._total + amount > self._most:
            if not self._make_room(sorted(self._used, key=self.used_by, reverse=True), holder, amount):
                return False
        self._add(holder, amount)
        return True

    def give_back(self, holder: Holder) -> None:
        """Take back all that a holder has."""
        held = self._held.get(holder.owner, {})
        if holder not in held:
            return
        self._add(holder, -held[holder])
        del held[holder]
        if not held:
            del self._held[holder.owner], self._used[holder.owner]

    def touch(self, holder: Holder) -> None:
        """Note that a holder was just useful: of its owner's idle ones it is the last to make room."""
        held = self._held.get(holder.owner, {})
        if holder in held:
            held[holder] = held.pop(holder)

    def used_by(self, owner: str) -> int:
        return self._used.get(owner, 0)

    def _add(self, holder: Holder, amount: int) -> None:
        held = self._held.setdefault(holder.owner, {})
        held[holder] = held.get(holder, 0) + amount
        self._used[holder.owner] = self.used_by(holder.owner) + amount
        self._total += amount

    def _make_room(self, owners: Iterable[str], asking: Holder, amount: int) -> bool:
        """End an idle holder of the first owner that has one, or else the slowest of the first that has to."""
        wanted = self.used_by(asking.owner) + amount
        ended = None
        for holder in filter(None, (self._slowest(owner, asking) for owner in owners)):
            pace = holder.pace
            if pace == IDLE or (ended is None and (pace < SLOW or self.used_by(holder.owner) > wanted)):
                ended = holder
            if pace == IDLE:
                break
        if ended is None:
            return False
        ended.make_room()
        self.give_back(ended)
        return True

    def _slowest(self, owner: str, asking: Holder) -> Holder | None:
        slowest, least = None, IN_USE
        for holder in self._held.get(owner, ()):
            pace = holder.pace
            if pace < least and holder is not asking:
                slowest, least = holder, pace
            if least == IDLE:
                break
        return slowest


current_hold: ContextVar[Hold | None] = ContextVar("hold", default=None)


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
    hold = current_hold.get()
    if hold is not None:
        hold.photos += 1
    try:
        yield
    finally:
        if hold is not None:
            hold.photos -= 1
