"""Spreads the work of clients over the passes of the event loop.

A request needs some ten passes, so it waits ten times for whatever else is done in one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable

Work = Callable[[], None]


class Turns:
    """Does one piece of work in each pass of the event loop, for one client after the other."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[Work]] = OrderedDict()
        self._taken = False  # in this pass

    def add(self, client: str, work: Work) -> None:
        """Do a piece of work: at once if it is the first of this pass, or else when it is this client's turn."""
        self._waiting.setdefault(client, deque()).append(work)
        if not self._taken:
            self._do_next()

    def _do_next(self) -> None:
        self._taken = bool(self._waiting)
        if not self._waiting:
            return
        asyncio.get_running_loop().call_soon(self._do_next)
        client, pieces = self._waiting.popitem(last=False)
        work = pieces.popleft()
        if pieces:
            self._waiting[client] = pieces
        work()
