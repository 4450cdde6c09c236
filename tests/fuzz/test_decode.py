"""libFuzzer, guided by coverage of our decoder and of Pillow's, for a while."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from densenet_serving import paths
from tests.fuzz import corpus
from tests.fuzz.conftest import LONG, SECONDS

SLOWEST_INPUT_SECONDS = 5
# The interpreter, what it has loaded and libFuzzer's own tables take 200; an image of a megapixel takes little.
MOST_MEMORY_MB = 700
# As many as two busy cores decode in the time there is: idle ones are done sooner.
EXECUTIONS = 20_000
# Far below what the slowest machine does: a fuzzer that cannot start would be seen here.
LEAST_EXECUTIONS = 200


@pytest.mark.skipif(
    find_spec("atheris") is None,
    reason="atheris is not installed: it has wheels for Python 3.11 to 3.13 on Linux (x86-64) only",
)
def test_no_bytes_crash_the_decoder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = paths.ROOT / ".fuzz" if LONG else tmp_path  # a long run goes on from what the one before found
    seeds = corpus.write(folder / "corpus")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.decode", seeds),
            f"-max_total_time={round(SECONDS * 2 / 3)}",
            f"-timeout={SLOWEST_INPUT_SECONDS}",
            f"-artifact_prefix={folder}/",
            f"-dict={corpus.write_dictionary(folder / 'dictionary')}",
            *("-max_len=20000", f"-rss_limit_mb={MOST_MEMORY_MB}", "-print_final_stats=1"),
            *([] if LONG else ["-seed=1", f"-runs={EXECUTIONS}"]),
        ],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS + 60,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    found = re.search(r"stat::number_of_executed_units:\s+(\d+)", said)
    assert found
    assert int(found[1]) > LEAST_EXECUTIONS
    with capfd.disabled():
        print(f"\natheris: {int(found[1]):,} files decoded", end=" ")
