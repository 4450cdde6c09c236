"""Run a command, and write the CPU seconds of it and of all that it started into a file: cpu.py FILE COMMAND...

A server outlives the command that started it. Linux then makes this process its parent, so that its time counts too.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def run(command: list[str]) -> int:
    """Return the command's exit status, once it has ended. Whatever of it ends meanwhile is waited for."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = subprocess.Popen(command)
    while True:
        pid, status = os.wait()
        if pid == child.pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            return child.returncode


def seconds() -> float:
    """Return the CPU seconds of every process that was waited for, by this one or by another that was."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    file, *command = sys.argv[1:]
    status = run(command)
    Path(file).write_text(f"{seconds():.1f}")
    sys.exit(status)
