from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from scripts import paths

PROBE = "from handler.engines.openvino_runtime import openvino; print(openvino.Core().available_devices)"
# Where one of these says that it is a CI job, OpenVINO reports nothing by itself.
CI = ("CI", "TF_BUILD", "JENKINS_URL")


def test_importing_openvino_reports_to_nobody(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in CI} | {"HOME": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=paths.ROOT, env=environment, capture_output=True, text=True, check=True
    )

    assert "CPU" in done.stdout
    assert list(tmp_path.iterdir()) == []  # before it reports, it writes an id into the home folder
