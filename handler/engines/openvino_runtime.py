"""OpenVINO, imported without its telemetry.

As it comes, importing it writes an id into the home folder and reports the import to Google Analytics, from a process
of its own that takes a core for a second.
"""

from __future__ import annotations

import sys

# None stands for a package that cannot be imported, and OpenVINO then takes a stub that reports nothing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402

__all__ = ["openvino"]
