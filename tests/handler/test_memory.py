"""What a process may grow by."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from scripts import paths

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Only Linux limits a process's private memory.")

# What a process can allocate after its limit: a large block, a small one, the large one again.
LIMITED = """
import json, sys
from handler.memory import limit_growth

limit_growth(int(sys.argv[1]))
done = []
for size in (200_000_000, 1_000_000, 200_000_000):
    try:
        done.append(len(bytearray(size)) > 0)
    except MemoryError:
        done.append(False)
print(json.dumps(done))
"""


@LINUX
@pytest.mark.parametrize(("headroom", "large"), [(50_000_000, False), (400_000_000, True), (0, True)])
def test_past_its_limit_an_allocation_fails_and_the_next_one_does_not(headroom: int, large: bool) -> None:
    command = [sys.executable, "-c", LIMITED, str(headroom)]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [large, True, large]
