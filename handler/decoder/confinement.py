"""Take from this process what decoding does not need, for good: files, connections, other processes, new rights.

No file descriptor can be opened any more (RLIMIT_NOFILE of 0, as OpenSSH confines what reads a stranger's bytes), which
closes files and sockets on every Unix. Landlock, from Linux 5.13 on, closes what needs no descriptor: to run, delete or
rename a file, and from 6.12 on signals to other processes.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

PR_SET_NO_NEW_PRIVS = 38
# Of linux/landlock.h; the system calls have these numbers on every architecture but Alpha.
CREATE_RULESET, RESTRICT_SELF = 444, 446
VERSION = 1
FILES = {1: 13, 2: 14, 3: 15, 5: 16}  # how many rights to files there are from a version of Landlock on
NETWORK_FROM, NETWORK = 4, 0b11  # bind and connect of TCP
SCOPES_FROM, SCOPES = 6, 0b11  # abstract sockets and signals


class Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr: what is closed unless a rule opens it, and there are no rules."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def confine() -> str:
    """Confine this process; whatever it still needs must have been imported and opened before.

    Returns a sentence for the log: what the kernel closed.
    """
    landlock = _landlock() if sys.platform == "linux" else 0
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))
    if landlock:
        return f"Decoders can open no file and no connection (limits, Landlock {landlock})."
    return "Decoders can open no file and no connection (limits; this kernel has no Landlock)."


def _landlock() -> int:
    """Close everything that this kernel's Landlock can; returns its version, 0 if there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return 0
    version = int(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION)))
    if version < 1:
        return 0
    rights = next(count for since, count in reversed(FILES.items()) if version >= since)
    ruleset = Ruleset(
        (1 << rights) - 1, NETWORK if version >= NETWORK_FROM else 0, SCOPES if version >= SCOPES_FROM else 0
    )
    size = 8 * (1 + (version >= NETWORK_FROM) + (version >= SCOPES_FROM))
    descriptor = libc.syscall(CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if descriptor < 0:
        return 0
    refused = libc.syscall(RESTRICT_SELF, ctypes.c_int(descriptor), ctypes.c_uint32(0))
    os.close(descriptor)
    return 0 if refused else version
