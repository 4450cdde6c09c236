"""A limit on the memory of a process, a worker or one of its decoders."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

logger = logging.getLogger(__name__)

STATUS = Path("/proc/self/status")


def limit_growth(headroom: int) -> None:
    """Let this process's private memory grow by at most `headroom` bytes from here on, on Linux; 0 sets no limit.

    Past it an allocation fails, and the image for which it was made is refused; without it the machine's memory
    ends, and the system kills a process of its choice. RLIMIT_AS would count what is only reserved, as CUDA and
    thread stacks do by the gigabyte; RLIMIT_DATA counts private memory that can be written.
    """
    if not headroom:
        return
    if sys.platform != "linux":
        logger.info("memory_headroom has no effect on %s", sys.platform)
        return
    import resource  # there is none on Windows

    used = next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith("VmData"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = used + headroom if hard == resource.RLIM_INFINITY else min(used + headroom, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
