from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from densenet_serving import paths

PROBE = "from handler.engines.openvino import openvino; print(openvino.Core().available_devices)"
SIGNALED = """
    import signal
    from pathlib import Path
    from handler.cores import Threads
    from handler.engines.openvino import OpenVinoEngine
    from handler.settings import Settings

    for _ in range(2):
        engine = OpenVinoEngine(Path({folder!r}), Settings(), Threads(2, 1))
    del engine
    signal.signal(signal.SIGTERM, lambda *_: print("heard"))
    signal.raise_signal(signal.SIGTERM)
"""
# Where one of these says that it is a CI job, OpenVINO reports nothing by itself.
CI = ("CI", "TF_BUILD", "JENKINS_URL")


def test_importing_openvino_reports_to_nobody(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in CI} | {"HOME": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=paths.ROOT, env=environment, capture_output=True, text=True, check=True
    )

    assert "CPU" in done.stdout
    assert list(tmp_path.iterdir()) == []  # before it reports, it writes an id into the home folder


def test_a_process_whose_engines_came_and_went_hears_a_signal(stand_in_folder: Path) -> None:
    program = dedent(SIGNALED).format(folder=str(stand_in_folder))

    done = subprocess.run([sys.executable, "-c", program], cwd=paths.ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
