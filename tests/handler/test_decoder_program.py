"""What a confined process can no longer do."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from densenet_serving import paths

TRIES = """
import json, os, pathlib, signal, socket, subprocess, sys
from handler.decoder_program import confine

said, mine = confine(), pathlib.Path(sys.argv[1])
tries = {
    "open": lambda: open(mine),
    "write": lambda: open(mine, "w"),
    "tcp": socket.socket,
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "pipe": os.pipe,
    "run": lambda: os.execv("/bin/true", ["true"]),
    "rename": lambda: mine.rename(mine.with_suffix(".moved")),
    "delete": mine.unlink,
    "folder": mine.with_suffix(".folder").mkdir,
    "signal": lambda: os.kill(os.getppid(), signal.SIGCONT),
}
done = []
for name, attempt in tries.items():
    try:
        attempt()
        done.append(name)
    except OSError:
        pass
print(json.dumps([said, done]))
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    mine: Path = tmp_path_factory.mktemp("mine") / "file"
    mine.write_text("mine")
    command = [sys.executable, "-c", TRIES, str(mine)]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True)
    said, succeeded = json.loads(done.stdout)
    return said, succeeded


def test_no_file_and_no_connection_can_be_opened(outcome: tuple[str, list[str]]) -> None:
    said, succeeded = outcome
    assert said.startswith("Decoders can open no file and no connection (limits")
    assert not {"open", "write", "tcp", "udp", "pipe"} & set(succeeded)


def test_where_the_kernel_has_landlock_nothing_else_is_reached(outcome: tuple[str, list[str]]) -> None:
    said, succeeded = outcome
    if "no Landlock" in said:
        pytest.skip(said)
    version = int(said.rpartition("Landlock ")[2].partition(")")[0])
    assert succeeded == ([] if version >= 6 else ["signal"])
