"""Ports of this machine for servers that tests start."""

from __future__ import annotations

import itertools
import os
import socket

# Below those that Linux gives to clients, and apart from every port that TorchServe takes by itself.
FIRST, LAST = 18_080, 32_000
A_PROCESS = 200  # test processes that run side by side begin this far apart


def free_port_range(length: int = 5) -> int:
    """Find a port that begins a range of free ones, elsewhere for every test process."""
    start = FIRST + os.getpid() * A_PROCESS % (LAST - FIRST)
    for first in itertools.chain(range(start, LAST, length), range(FIRST, start, length)):
        try:
            for port in range(first, first + length):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise RuntimeError("no free ports")
