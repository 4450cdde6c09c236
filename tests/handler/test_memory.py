"""What a process may grow by."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from densenet_serving import paths

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


def printed(program: str, argument: object) -> Any:
    command = [sys.executable, "-c", program, str(argument)]
    return json.loads(subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True).stdout)


@LINUX
@pytest.mark.parametrize(("headroom", "large"), [(50_000_000, False), (400_000_000, True), (0, True)])
def test_past_its_limit_an_allocation_fails_and_the_next_one_does_not(headroom: int, large: bool) -> None:
    assert printed(LIMITED, headroom) == [large, True, large]


# Large blocks, with a small one above each that stays: bytes that the process holds afterwards.
FRAGMENTED = """
import sys
from handler.memory import STATUS, give_back_large_blocks

def held() -> int:
    return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith("VmData"))

if sys.argv[1] == "True":
    give_back_large_blocks()
before, small = held(), []
for megabytes in (28, 24, 20, 16):
    large = bytearray(megabytes << 20)
    small += [bytes(600) for _ in range(1000)]
    del large
print(held() - before)
"""


@LINUX
@pytest.mark.parametrize("give_back", [True, False])
def test_a_large_body_leaves_the_worker_as_it_was(give_back: bool) -> None:
    assert (printed(FRAGMENTED, give_back) < 10_000_000) == give_back
