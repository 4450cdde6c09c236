"""Files along the road from bytes to the model's crop, in a process of its own: python -m tests.handler.road NAME ...

Prints a line of JSON for each of the names of tests/handler/hostile.py: what came of it, the seconds of processor time
and the megabytes of memory that it took. The process has limits of its own, so that the machine outlives a failure.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from pathlib import Path

from handler.card import Preprocessing
from handler.errors import RequestError
from handler.images import FORMATS, decode
from handler.preprocessing import preprocess
from handler.settings import Settings
from tests.handler.hostile import FILES
from tests.pictures import encode, noise

SPEC = Preprocessing(resize=255, crop=224, interpolation="bilinear", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
MEMORY, SECONDS = 4 << 30, 300
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak() -> int:
    """Return the most bytes that were in memory since the last reset."""
    lines = STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def walk(data: bytes) -> dict[str, object]:
    CLEAR.write_text("5")  # resets the peak to what is in memory now
    before, start = peak(), time.process_time()
    try:
        preprocess(decode(data, Settings(), SPEC.resize), SPEC)
        kind, message = None, ""
    except RequestError as error:
        kind, message = type(error).__name__, str(error)
    seconds = time.process_time() - start
    return {"kind": kind, "message": message, "seconds": seconds, "megabytes": (peak() - before) / 1e6}


def main() -> None:
    warnings.simplefilter("ignore")  # Pillow's, of pictures over its own limit
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    for format_name in FORMATS:  # whatever a first time costs
        walk(encode(noise(), format_name))
    for name in sys.argv[1:]:
        print(json.dumps({"name": name} | walk(FILES[name].build())), flush=True)


if __name__ == "__main__":
    main()
