"""How much of something clients may have at a time: bytes of bodies, requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from web.errors import RETRY_SOON, ServiceUnavailable
from web.limits import clients

BUSY = "The gateway is busy: try again in a second."


class Budget:
    """At most `most` units in use at a time, and at most `most_of_one` by one client; by default one may use all."""

    def __init__(self, most: int, most_of_one: int | None = None) -> None:
        self._most = most
        self._most_of_one = most if most_of_one is None else most_of_one
        self._used: Counter[str] = Counter()

    @contextmanager
    def account(self) -> Iterator[Callable[[int], None]]:
        """Open an account of the current client. What is taken from it is given back when the account is closed.

        Taking raises ServiceUnavailable if there is not that much left.
        """
        client = clients.current.get()
        taken = 0

        def take(amount: int) -> None:
            nonlocal taken
            if self._used.total() + amount > self._most or self._used[client] + amount > self._most_of_one:
                raise ServiceUnavailable(BUSY, RETRY_SOON)
            self._used[client] += amount
            taken += amount

        try:
            yield take
        finally:
            self._used[client] -= taken
            if not self._used[client]:
                del self._used[client]


class Admission:
    """Limits the requests at a time. It refuses before the body is read."""

    def __init__(self, most: int, most_of_one: int | None = None) -> None:
        self._requests = Budget(most, most_of_one)

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._requests.account() as take:
            take(1)
            yield
