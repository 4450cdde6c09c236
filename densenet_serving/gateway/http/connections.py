"""The file descriptors that connections may take."""

from __future__ import annotations

import resource

from densenet_serving.errors import ServingError

# File descriptors for the connections to TorchServe, the log, the listening socket and the interpreter.
SPARE_FILES = 256
FEWEST = 64


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
