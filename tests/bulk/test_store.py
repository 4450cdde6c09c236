"""Source and output in a store that speaks like S3: moto's, on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install -e '.[bulk]'")
pytest.importorskip("moto", reason="moto is not installed: make .venv/.dev installs it")

import pyarrow.parquet as pq
from moto.server import ThreadedMotoServer
from pyarrow import fs

from densenet_serving.bulk import parts, photos
from densenet_serving.bulk.filesystems import UNFINISHED, locate, write_whole
from densenet_serving.bulk.reader import Reader, Unreadable
from tests.bulk.conftest import Bulk

PHOTOS = {"a.jpg": b"1", "b/c.jpg": b"22", "b/empty.jpg": b"", "notes.txt": b"no photo"}


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The query of a URI into a store with the bucket `bucket`."""
    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    query = f"?scheme=http&endpoint_override={host}:{port}"
    file_system, _ = fs.FileSystem.from_uri(f"s3://bucket{query}&allow_bucket_creation=true")
    file_system.create_dir("bucket")
    for name, content in PHOTOS.items():
        write_whole(f"s3://bucket/photos/{name}{query}", content)
    yield query
    running.stop()


def test_photos_are_read_and_rows_are_written_and_a_second_run_has_nothing_to_do(bulk: Bulk, store: str) -> None:
    source, output = f"s3://bucket/photos{store}", f"s3://bucket/labels{store}"
    done = bulk(source, output)
    assert done.returncode == 1, done.stderr
    file_system, path = locate(output)
    found = pq.read_table(path, filesystem=file_system).to_pylist()
    assert [row["path"].partition("?")[0] for row in found] == [
        "s3://bucket/photos/a.jpg",
        "s3://bucket/photos/b/c.jpg",
        "s3://bucket/photos/b/empty.jpg",
    ]
    assert [row["class_id"] for row in found] == ["n1", "n2", None]
    assert [row["error_code"] for row in found] == [None, None, 400]

    again = bulk(source, output)
    assert "3 of 3 photos were classified before." in again.stderr


def test_a_photo_that_is_not_there_is_a_row(store: str) -> None:
    [content] = Reader(None).read_all([photos.Photo(f"s3://bucket/photos/missing.jpg{store}")])
    assert isinstance(content, Unreadable)
    assert content.code == 404


def test_what_a_killed_writer_left_is_removed(store: str) -> None:
    folder = f"s3://bucket/left{store}"
    write_whole(f"s3://bucket/left/part-000000000000.parquet.1{UNFINISHED}{store}", b"half")
    assert list(parts.written(folder)) == []
    file_system, path = locate(folder)
    assert file_system.get_file_info(fs.FileSelector(path, allow_not_found=True)) == []
