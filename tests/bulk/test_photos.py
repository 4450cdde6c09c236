from __future__ import annotations

import io
import os
import random
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install -e '.[bulk]'")

import pyarrow as pa
import pyarrow.parquet as pq

from densenet_serving.bulk import photos
from densenet_serving.bulk.filesystems import locate, write_whole
from densenet_serving.bulk.job import Chunk, Job
from densenet_serving.bulk.photos import Photo, Reader, Unreadable
from densenet_serving.errors import CommandError
from densenet_serving.photo_files import LeftOut


def find(source: Path | str, column: str | None = None) -> list[Photo]:
    return list(photos.find(str(source), column, LeftOut()))


def contents(source: Path | str, column: str | None = None) -> dict[str, bytes | Unreadable]:
    """What is read of every photo of a source, by the last part of its path."""
    found = find(source, column)
    reader = Reader(column)
    return {
        photo.path.rpartition("/")[2]: content for photo, content in zip(found, reader.read_all(found), strict=True)
    }


def make_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def test_a_folder_gives_its_photos_and_those_of_its_shards_in_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "two.PNG").write_bytes(b"2")
    (tmp_path / "a.jpg").write_bytes(b"1")
    make_tar(tmp_path / "c.tar", {"three.jpg": b"3", "three.cls": b"7", "four.webp": b"44"})
    for name in ("clip.mov", "labels.parquet", "notes.txt"):
        (tmp_path / name).touch()
    assert contents(tmp_path) == {"a.jpg": b"1", "two.PNG": b"2", "three.jpg": b"3", "four.webp": b"44"}
    left_out = LeftOut()
    [first, *_] = photos.find(str(tmp_path), None, left_out)
    assert first.path == str(tmp_path / "a.jpg")
    assert left_out.first == [str(tmp_path / "clip.mov"), str(tmp_path / "notes.txt")]


def test_a_list_gives_a_photo_a_line(tmp_path: Path) -> None:
    (tmp_path / "one.jpg").write_bytes(b"1")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/one.jpg\r\n\n{tmp_path}/missing.jpg")
    assert contents(tmp_path / "list.txt") == {
        "one.jpg": b"1",
        "missing.jpg": Unreadable(404, "The photo is not there: check the path."),
    }


@pytest.mark.parametrize(
    ("name", "cells", "expected"),
    [
        ("image", pa.array([b"1", b"22", None]), [b"1", b"22", 404]),
        ("image", pa.array([{"bytes": b"1", "path": "a"}, {"bytes": None, "path": "b"}]), [b"1", 404]),
        ("path", pa.array(["{folder}/one.jpg", "{folder}/missing.jpg"]), [b"1", 404]),
    ],
    ids=["bytes", "as Hugging Face writes", "paths"],
)
def test_parquet_gives_a_photo_a_row(tmp_path: Path, name: str, cells: pa.Array, expected: list[bytes | int]) -> None:
    (tmp_path / "one.jpg").write_bytes(b"1")
    if pa.types.is_string(cells.type):
        cells = pa.array([text.format(folder=tmp_path) for text in cells.to_pylist()])
    pq.write_table(pa.table({"label": range(len(cells)), name: cells}), tmp_path / "p.parquet", row_group_size=2)
    found = list(Reader(None).read_all(find(tmp_path / "p.parquet")))
    assert [content.code if isinstance(content, Unreadable) else content for content in found] == expected
    assert find(tmp_path, name) == find(tmp_path / "p.parquet")


BLOB = random.Random(0).randbytes(4000) * 100  # noqa: S311


@pytest.mark.parametrize(
    "cells",
    [
        pa.array([BLOB] * 1000),
        pa.array([{"bytes": BLOB, "path": "a"}] * 1000),
        pa.array([BLOB] * 1000, pa.large_binary()),
    ],
    ids=["bytes", "as Hugging Face writes", "large"],
)
def test_what_a_dictionary_repeats_is_in_memory_once(tmp_path: Path, cells: pa.Array) -> None:
    pq.write_table(pa.table({"image": cells}), tmp_path / "p.parquet", compression="zstd")
    found = find(tmp_path / "p.parquet")
    before = pa.total_allocated_bytes()
    reader = Reader(None)
    assert reader.read(found[7]) == BLOB
    assert pa.total_allocated_bytes() - before < 10_000_000


def test_a_row_group_past_its_budget_is_refused_before_it_is_read(tmp_path: Path) -> None:
    table = pa.table({"image": [bytes(100_000)] * 11})
    path = tmp_path / "p.parquet"
    pq.write_table(table, path, compression="zstd", use_dictionary=False, row_group_size=10)
    column = pq.read_metadata(path).row_group(0).column(0)
    with path.open("r+b") as file:  # reading it would fail
        file.seek(column.data_page_offset)
        file.write(bytes(column.total_compressed_size))
    [first, *_, last] = Reader(None, most_group_bytes=1_000_000).read_all(find(path))
    assert isinstance(first, Unreadable)
    assert first.code == 413
    assert "1,000,000" in first.message
    assert last == bytes(100_000)


def test_more_rows_than_the_file_has_bytes_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "p.parquet", tmp_path / "folder" / "p.parquet"):
        pq.write_table(pa.table({"image": pa.nulls(1_000_000, pa.binary())}), path)
    with pytest.raises(CommandError, match=r"cannot be listed \(it announces 1,000,000 rows in 2,\d+ bytes\)"):
        find(tmp_path / "p.parquet")
    [content] = contents(tmp_path / "folder", "image").values()
    assert isinstance(content, Unreadable)


def test_a_pipe_that_a_list_names_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "list.txt").write_text(f"{tmp_path}/pipe.jpg\n/dev/zero")
    for content in contents(tmp_path / "list.txt").values():
        assert isinstance(content, Unreadable)
        assert "it is a pipe or a device" in content.message


def test_a_uri_is_read_through_fsspec(tmp_path: Path) -> None:
    file_system, path = locate("memory://bucket/photos/a.jpg")
    with file_system.open_output_stream(path) as stream:
        stream.write(b"far away")
    assert find("memory://bucket/photos") == [Photo("memory://bucket/photos/a.jpg")]
    assert contents("memory://bucket/photos") == {"a.jpg": b"far away"}


def test_a_folder_in_a_store_gives_its_photos(store: str) -> None:
    for name in ("a.jpg", "b/c.jpg", "notes.txt"):
        write_whole(f"s3://bucket/folder/{name}{store}", name.encode())
    left_out = LeftOut()
    found = [photo.path for photo in photos.find(f"s3://bucket/folder{store}", None, left_out)]
    assert found == [f"s3://bucket/folder/{name}{store}" for name in ("a.jpg", "b/c.jpg")]
    assert left_out.first == [f"s3://bucket/folder/notes.txt{store}"]


@pytest.mark.parametrize(
    ("source", "column", "message"),
    [
        ("nothing", None, "There is no"),
        ("broken.parquet", None, "cannot be listed"),
        ("broken.tar", None, "cannot be listed"),
        ("labels.parquet", None, "has no column of photos, but label"),
        ("labels.parquet", "photo", "has no column photo, but label"),
        ("nowhere://bucket/a", None, "cannot be read or written here"),
    ],
)
def test_a_source_that_cannot_be_listed_is_a_sentence(
    tmp_path: Path, source: str, column: str | None, message: str
) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "broken.tar").write_bytes(b"no tar" * 100)
    pq.write_table(pa.table({"label": [1]}), tmp_path / "labels.parquet")
    with pytest.raises(CommandError, match=message):
        find(source if "://" in source else tmp_path / source, column)


def test_a_shard_that_is_cut_short_gets_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    make_tar(tmp_path / "a.tar", {"one.jpg": bytes(600), "two.jpg": bytes(600)})
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[: 1536 + 100])
    (tmp_path / "b.tar").write_bytes(b"no tar" * 100)
    make_tar(tmp_path / "c.tar", {"three.jpg": b"3"})
    found = contents(tmp_path)
    assert list(found) == ["one.jpg", "a.tar", "b.tar", "three.jpg"]
    assert [found["one.jpg"], found["three.jpg"]] == [bytes(600), b"3"]
    assert found["a.tar"] == found["b.tar"]
    assert isinstance(found["a.tar"], Unreadable)
    assert found["a.tar"].message.startswith("The shard is damaged or cut short")


RAW = os.fsdecode(b"caf\xe9.jpg")


def test_names_that_are_not_utf_8_are_listed_kept_and_read(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"2024\xe9")
    folder.mkdir()
    (folder / RAW).write_bytes(b"1")
    make_tar(folder / "shard.tar", {RAW: b"2"})
    (tmp_path / "list.txt").write_bytes(os.fsencode(folder / RAW))
    [found, inside] = find(folder)
    assert find(tmp_path / "list.txt") == [found]
    job = Job(str(folder), str(tmp_path / "out"), "model", "1.0", "digest").begin_or_resume(print)
    kept = job.photos(Chunk(0, 2))
    assert kept == [found, inside]
    assert list(Reader(None).read_all(kept)) == [b"1", b"2"]


def test_entries_that_cannot_be_read_get_a_row_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "file").touch()
    assert contents(tmp_path)["gone.jpg"] == Unreadable(404, "The photo is not there: check the path.")
    unread = Reader(None).read(Photo(str(tmp_path / "file" / "one.jpg")))
    assert isinstance(unread, Unreadable)
    assert unread.code == 502
    assert "one.jpg" in unread.message
