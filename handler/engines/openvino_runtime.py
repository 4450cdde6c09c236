"""OpenVINO, imported without its telemetry, and one Core of it.

As it comes, importing it writes an id into the home folder and reports the import to Google Analytics, from a process
of its own that takes a core for a second.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

# None stands for a package that cannot be imported, and OpenVINO then takes a stub that reports nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

__all__ = ["core", "openvino"]


@cache
def core() -> Any:
    """Return this process's only openvino.Core.

    The CPU plugin of each Core gives the thread a stack for signals, and when the Core goes, the stack of the Core
    before it. If that one went first, the stack is memory that is no longer there, and the next signal ends the
    process with a segmentation fault (OpenVINO 2026.4).
    """
    return openvino.Core()
