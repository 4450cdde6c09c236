"""The open connections: how many there may be, in all and from one address."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from typing import Protocol

from scripts.errors import ServingError

# File descriptors for the connections to TorchServe, the log, the listening socket and the interpreter.
SPARE_FILES = 256
FEWEST = 64


class Connection(Protocol):
    """What the table needs to know about a connection."""

    address: str

    @property
    def idle(self) -> bool:
        """Whether every request on it has been answered or refused."""

    def close(self) -> None:
        """End it at once."""


class Connections:
    """The open connections, grouped by the address they come from, the longest idle of each address first.

    When the table is full, a new connection takes the place of an idle one: one of the same address if that address
    has its full number, and otherwise one of the address with the most connections that has an idle one.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._of: dict[str, dict[Connection, None]] = {}
        self._count = 0

    def admit(self, connection: Connection) -> bool:
        """Take a connection in. Returns False if the table is full of busy ones."""
        mine = self._of.get(connection.address, {})
        if len(mine) >= self._most_of_one and not self._close_idle(mine):
            return False
        if self._count >= self._most and not self._make_room():
            return False
        self._of.setdefault(connection.address, {})[connection] = None
        self._count += 1
        return True

    def remove(self, connection: Connection) -> None:
        mine = self._of.get(connection.address, {})
        if connection in mine:
            del mine[connection]
            self._count -= 1
            if not mine:
                del self._of[connection.address]

    def answered(self, connection: Connection) -> None:
        """Note that a connection was just useful: of its address it is the last to make room."""
        mine = self._of.get(connection.address, {})
        if connection in mine:
            mine[connection] = mine.pop(connection)

    def _make_room(self) -> bool:
        return any(self._close_idle(theirs) for theirs in sorted(self._of.values(), key=len, reverse=True))

    def _close_idle(self, candidates: Mapping[Connection, None]) -> bool:
        for connection in candidates:
            if connection.idle:
                self.remove(connection)
                connection.close()
                return True
        return False


def check_room() -> None:
    """Raise ServingError if this process may not open files for FEWEST connections: a browser alone takes several."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < SPARE_FILES + FEWEST:
        raise ServingError(
            f"The gateway needs {SPARE_FILES + FEWEST} open files and may have {hard}: raise the hard limit "
            "(ulimit -Hn, LimitNOFILE of systemd)."
        )


def room_for(connections: int) -> int:
    """Raise this process's limit of file descriptors for so many connections. Returns how many it may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else min(connections, max(1, soft - SPARE_FILES))
