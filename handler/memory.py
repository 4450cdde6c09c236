"""A limit on the memory of a process, a worker or one of its decoders."""

from __future__ import annotations

import ctypes
import logging
import sys
from pathlib import Path

logger = logging.getLogger(__name__)

STATUS = Path("/proc/self/status")

# Of glibc's mallopt (malloc.h). A block of at least BLOCK bytes is the kernel's, and goes back to it once freed;
# ordinary photos and batches are smaller. KEPT is what glibc keeps at its heap's end for the next of those.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
BLOCK, KEPT = 8 << 20, 64 << 20


def give_back_large_blocks() -> None:
    """Have the C library return large blocks as soon as they are freed; other libraries than glibc do so by themselves.

    glibc takes the first large block that is freed for a sign of more, and puts those that follow into its heap. One
    small block above them then keeps all of them from being returned: a worker would stay as large as the largest
    bodies have made it, and refuse pictures for which limit_growth leaves no room.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, BLOCK)
        mallopt(TRIM_THRESHOLD, KEPT)


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
