from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install -e '.[bulk]'")

from scripts import paths
from tests import pictures

# A worker's imports and an archive's model, in a process of their own: the handler must be that of the archive.
PROGRAM = """
import json, sys
import scripts.batch.worker
assert not [name for name in sys.modules if name.partition(".")[0] == "handler"]
from scripts.batch.model import Model
archive, digest, *photos = sys.argv[1:]
model = Model(open(archive, "rb").read(), digest, 8, {"top-k": "2000"})
answers = model.classify([open(photo, "rb").read() for photo in photos])
print(json.dumps({"answers": answers, "handler": sys.modules["handler"].__file__}))
"""


def test_the_archives_own_handler_answers_as_on_the_server(stand_in_archive: Path, cat: bytes, tmp_path: Path) -> None:
    from scripts.files import sha256_of

    (tmp_path / "cat.jpg").write_bytes(cat)
    (tmp_path / "bad.jpg").write_bytes(b"{}")
    (tmp_path / "wide.png").write_bytes(pictures.encode(pictures.photo("coffee"), "PNG"))
    photos = [str(tmp_path / name) for name in ("cat.jpg", "bad.jpg", "wide.png")]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(stand_in_archive), sha256_of(stand_in_archive), *photos],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(done.stdout)
    assert "archive-" in found["handler"]
    first, bad, wide = found["answers"]
    assert first["class_name"] in pictures.FITTING["chelsea"]  # a near tie
    assert len(first["predictions"]) == 1000  # it was asked for 2000, and lists all it has, as the server does
    assert (bad["code"], bad["type"]) == (415, "UnsupportedMediaTypeException")
    assert wide["class_name"] == "espresso"


# A chunk of thumbnails, then one in which two photos have 50 megapixels: prints the bytes that it takes at its peak.
LARGE_PROGRAM = """
import sys
from pathlib import Path
import ray
from scripts.archives.mar import Archive
from scripts.batch.job import Job
from scripts.batch.worker import Worker
ray.get = lambda archive: archive  # no Ray runs here
archive = Archive.read(Path(sys.argv[1]))
job = Job.of(sys.argv[2], sys.argv[3], archive).begin_or_resume(print)
worker = Worker(job, archive.path.read_bytes())
def memory(name):
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024
for first in (0, job.chunk):
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is used
    before = memory("VmHWM")
    [errors] = worker({"first": [first], "count": [job.chunk]})["errors"]
    assert errors == 0
print(memory("VmHWM") - before)
"""
LARGE = (8000, 6250)
# Pillow has 4 bytes for a pixel; beside one decoded photo its resized copy and the encoded ones of a batch.
MOST_ADDED = 2 * 4 * LARGE[0] * LARGE[1]


def test_photos_of_50_megapixels_beside_thumbnails_take_the_memory_of_one(
    stand_in_archive: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(32):
        size = LARGE if i in (20, 25) else (64, 48)
        Image.new("RGB", size, "green").save(photos / f"{i:02d}.jpg")
    done = subprocess.run(
        [sys.executable, "-c", LARGE_PROGRAM, str(stand_in_archive), str(photos), str(tmp_path / "out")],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    added = int(done.stdout.split()[-1])
    record_property("added_megabytes", added // 1_000_000)
    assert added < MOST_ADDED


def test_an_archive_that_arrives_changed_is_refused(lengths: Path) -> None:
    from scripts.batch.model import Model
    from scripts.errors import CommandError

    with pytest.raises(CommandError, match="not the one of SHA-256 0123"):
        Model(lengths.read_bytes(), "0123", 8, {})
