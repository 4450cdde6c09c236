"""Files that are bent along their structure, through a real decoder process; and libFuzzer, guided by coverage."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from random import Random

import numpy as np
import pytest

from densenet_serving import paths
from handler.decoding import Decoder
from handler.errors import RequestError
from handler.settings import Settings
from tests.errors import check_message
from tests.fuzz import corpus
from tests.fuzz.bending import bend
from tests.fuzz.conftest import LONG, SECONDS
from tests.handler.test_card import PREPROCESSING
from tests.pictures import encode, noise

SLOWEST_INPUT_SECONDS = 5
# The interpreter, what it has loaded and libFuzzer's own tables take 200; an image of a megapixel takes little.
MOST_MEMORY_MB = 700
# As many as two busy cores decode in the time there is: idle ones are done sooner.
EXECUTIONS = 20_000
# Far below what the slowest machine does: a fuzzer that cannot start would be seen here.
LEAST_EXECUTIONS = 200


# Bent files, of which thousands reach a decoder in a few seconds.
BENT = 1_500


def test_no_bent_file_costs_more_than_its_own_answer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """FUZZ_SEED repeats a run. A file that ends its decoder, as one may, is kept and counted."""
    seed = int(os.environ.get("FUZZ_SEED", time.time_ns() if LONG else 1))
    random, until = Random(seed), time.monotonic() + SECONDS / 2  # noqa: S311 - no secret
    folder = paths.ROOT / ".fuzz" if LONG else tmp_path
    folder.mkdir(exist_ok=True)
    seeds = [content for _, content in corpus.seeds()]
    decoder = Decoder(Settings(decode_seconds=1, max_image_pixels=1_000_000), PREPROCESSING, threads=1)
    tried, decoded, ended = 0, 0, 0
    while time.monotonic() < until and (LONG or tried < BENT):
        data = bend(random.choice(seeds), random.choice(seeds), random)
        (folder / "bent").write_bytes(data)  # the one at fault if what follows fails
        [outcome] = decoder.decode([[data]]).images
        tried += 1
        if not isinstance(outcome, RequestError):
            assert outcome.shape == (224, 224, 3)
            decoded += 1
            continue
        assert outcome.status in (400, 413, 415)
        check_message(str(outcome))
        if "ended its process" in str(outcome):
            (folder / f"ended-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
            ended += 1
    assert tried > LEAST_EXECUTIONS
    assert decoded > tried / 20, "files so bent that decoders refuse them at once find nothing"
    assert isinstance(decoder.decode([[encode(noise(), "PNG")]]).images[0], np.ndarray)
    with capfd.disabled():
        print(f"\nseed {seed}: {tried:,} bent files, {decoded:,} decoded, {ended} ended their decoder", end=" ")


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
