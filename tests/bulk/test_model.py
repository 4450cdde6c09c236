from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install -e '.[bulk]'")

from densenet_serving import paths
from tests import pictures

# A worker in a process of its own, first with a folder of three photos, then with a chunk of thumbnails and with one in
# which two photos have 50 megapixels. Its handler must be that of the archive.
PROGRAM = """
import json, sys
from dataclasses import replace
from pathlib import Path
import pyarrow as pa
from types import SimpleNamespace
import densenet_serving.bulk.worker
from densenet_serving.bulk.job import Chunk, Job
archive, three, photos, output = map(Path, sys.argv[1:])
prediction = pa.struct({"class_id": pa.string(), "class_name": pa.string(), "probability": pa.float64()})
schema = pa.schema({"id": pa.int64(), "predictions": pa.list_(prediction), "error_code": pa.int32()})
model = SimpleNamespace(path=archive, name="stand-in", version="1.0")
job = replace(Job.of(str(photos), str(output), model), top_k=2000).begin_or_resume(lambda _: None)
assert "handler" not in sys.modules
worker = densenet_serving.bulk.worker.Worker(job, archive.read_bytes(), schema, 32 << 20)
answers = worker._model.classify([photo.read_bytes() for photo in sorted(three.iterdir())])
def memory(name):
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) * 1024
for first in (0, job.chunk):
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is used
    before = memory("VmHWM")
    assert worker.do(Chunk(first, job.chunk)) == (job.chunk, 0)
added = memory("VmHWM") - before
print(json.dumps({"answers": answers, "handler": sys.modules["handler"].__file__, "added": added}))
"""
LARGE = (8000, 6250)
# Pillow has 4 bytes for a pixel; beside one decoded photo its resized copy and the encoded ones of a batch.
MOST_ADDED = 2 * 4 * LARGE[0] * LARGE[1]


@pytest.fixture(scope="module")
def seen(stand_in_archive: Path, cat: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program prints."""
    three, photos = tmp_path_factory.mktemp("three"), tmp_path_factory.mktemp("photos")
    for i, content in enumerate((cat, b"no photo", pictures.encode(pictures.photo("coffee"), "PNG"))):
        (three / f"{i}").write_bytes(content)
    small, large = (pictures.encode(Image.new("RGB", size, "green")) for size in ((64, 48), LARGE))
    for i in range(32):
        (photos / f"{i:02d}.jpg").write_bytes(large if i in (20, 25) else small)
    output = tmp_path_factory.mktemp("out")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(stand_in_archive), str(three), str(photos), str(output)],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_archives_own_handler_answers_as_on_the_server(seen: dict[str, Any]) -> None:
    assert "archive-" in seen["handler"]
    first, bad, wide = seen["answers"]
    assert first["class_name"] in pictures.FITTING["chelsea"]  # a near tie
    assert len(first["predictions"]) == 1000  # it was asked for 2000, and lists all it has, as the server does
    assert (bad["code"], bad["type"]) == (415, "UnsupportedMediaTypeException")
    assert wide["class_name"] == "espresso"


def test_photos_of_50_megapixels_beside_thumbnails_take_the_memory_of_one(
    seen: dict[str, Any], record_property: Callable[[str, object], None]
) -> None:
    record_property("added_megabytes", seen["added"] // 1_000_000)
    assert seen["added"] < MOST_ADDED


def test_an_archive_that_arrives_changed_is_refused(lengths: Path) -> None:
    from densenet_serving.bulk.worker import Model
    from densenet_serving.errors import CommandError

    with pytest.raises(CommandError, match="not the one of SHA-256 0123"):
        Model(lengths.read_bytes(), "0123", 8, {})
