from __future__ import annotations

import os
import threading
from pathlib import Path

from benchmarks.measure import Tree
from benchmarks.profile import thread_times, time_stages
from tests.pictures import encode, photo
from tests.waiting import until


def test_cpu_time_is_counted_by_thread() -> None:
    """Of threads that live: an ended one is gone from the list."""
    tree = Tree(os.getpid())
    seen = threading.Event()

    def work() -> None:
        while not seen.is_set():
            sum(range(100_000))

    busy = threading.Thread(target=work)
    busy.start()
    try:
        before = sum(thread_times(tree).values())
        until(lambda: sum(thread_times(tree).values()) > before)
    finally:
        seen.set()
        busy.join()


def test_every_stage_takes_time(densenet_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "photo.jpg"
    file.write_bytes(encode(photo("chelsea")))
    stages = time_stages(densenet_folder, file, 0.1)
    assert set(stages) == {"decode", "resize and crop", "inference"}
    assert all(ms > 0 for ms in stages.values())
