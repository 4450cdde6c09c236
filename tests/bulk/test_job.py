from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install -e '.[bulk]'")

import pyarrow as pa
from pyarrow import fs
from pyarrow.dataset import dataset

from densenet_serving.build.archives import Archive
from densenet_serving.bulk.filesystems import UNFINISHED, join, locate, retried, write_whole
from densenet_serving.bulk.job import GROUP, SMALLEST_CHUNK, Chunk, Job, chunk_size, write_manifest
from densenet_serving.bulk.photos import Photo
from densenet_serving.errors import CommandError
from tests.bulk.conftest import make_photos


@pytest.fixture
def job(tmp_path: Path, lengths: Path) -> Job:
    photos = make_photos(tmp_path / "photos", 3, b"1")
    return Job.of(str(photos), str(tmp_path / "out"), Archive.read(lengths))


def rows(*codes: int | None) -> pa.Table:
    return pa.table({"error_code": pa.array(codes, pa.int32())})


def test_a_job_goes_on_with_the_photos_that_it_began_with(job: Job) -> None:
    begun = job.begin_or_resume(print)
    assert (begun.total, begun.chunk) == (3, SMALLEST_CHUNK)
    Path(job.source, "late.jpg").touch()
    assert job.begin_or_resume(print) == begun


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"source": "/elsewhere"}, "source"),
        ({"digest": "0"}, "archive"),
        ({"top_k": 5, "min_probability": 0.5}, "--top-k, --min-probability"),
    ],
)
def test_another_job_is_refused(job: Job, change: dict[str, object], named: str) -> None:
    job.begin_or_resume(print)
    with pytest.raises(CommandError, match=f"another {named}:"):
        replace(job, **change).begin_or_resume(print)  # type: ignore[arg-type]


def test_a_listing_that_was_interrupted_begins_anew(job: Job) -> None:
    Path(job.output, "_job").mkdir(parents=True)
    Path(job.manifest).write_bytes(b"half")
    assert job.begin_or_resume(print).total == 3


def test_files_that_are_no_photos_by_their_names_are_told(job: Job) -> None:
    for name in "abcd":
        Path(job.source, f"{name}.mov").touch()
    said: list[str] = []
    job.begin_or_resume(said.append)
    for part in (".avif", "a.mov", "1 more", ".txt"):
        assert part in said[-1]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"source": "{folder}/empty"}, "/empty holds no photo"),
        ({"column": "image"}, r"\.parquet"),
        ({"output": "{folder}/full"}, "/full holds"),
        ({"output": "{folder}/file"}, "/file cannot be used .*Cannot list directory"),
        ({"output": "/proc/out"}, "/proc/out cannot be used"),
    ],
)
def test_what_cannot_begin_is_refused(job: Job, tmp_path: Path, change: dict[str, str], named: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full" / "thesis").mkdir(parents=True)
    (tmp_path / "file").touch()
    changed = {name: value.format(folder=tmp_path) for name, value in change.items()}
    with pytest.raises(CommandError, match=named):
        replace(job, **changed).begin_or_resume(print)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["", "[]", '{"source": "photos", "of": "later"}'])
def test_a_damaged_record_is_refused(job: Job, content: str) -> None:
    job.begin_or_resume(print)
    Path(job.record).write_text(content)
    with pytest.raises(CommandError, match=r"job\.json is damaged"):
        job.begin_or_resume(print)


@pytest.mark.parametrize("total", [1, 16, 17, 5000, GROUP * 300 + 1])
def test_chunks_cover_every_photo_once_and_lie_in_one_group(job: Job, tmp_path: Path, total: int) -> None:
    tmp_path.joinpath("out").mkdir()
    chunks, _ = replace(job, total=total, chunk=chunk_size(total)).left()
    ends = [0, *(chunk.first + chunk.count for chunk in chunks)]
    assert [chunk.first for chunk in chunks] == ends[:-1]
    assert ends[-1] == total
    assert all(chunk.first // GROUP == (chunk.first + chunk.count - 1) // GROUP for chunk in chunks)


def test_the_manifest_gives_a_chunk_its_photos_and_is_open_only_while_it_is_read(job: Job) -> None:
    Path(job.manifest).parent.mkdir(parents=True)
    photos = [Photo(f"{i}.jpg", "shard.tar", i, 7) for i in range(GROUP + 5)]
    assert write_manifest(job.manifest, photos) == len(photos)
    assert job.photos(Chunk(16, 4)) == photos[16:20]
    assert job.photos(Chunk(GROUP, 5)) == photos[GROUP:]
    assert job.manifest not in [file.path for file in psutil.Process().open_files()]


@pytest.mark.parametrize("output", ["{folder}", "s3://bucket/out{store}"])
def test_parts_that_are_there_are_not_left_and_what_a_killed_writer_left_is_removed(
    job: Job, tmp_path: Path, store: str, output: str
) -> None:
    one = replace(job, output=output.format(folder=tmp_path / "out", store=store), total=40, chunk=16)
    file_system, path = locate(one.output)
    file_system.create_dir(path)
    one.write(Chunk(0, 16), rows(*[None] * 13, 404, 400, 404))
    one.write(Chunk(32, 8), rows(*[None] * 8))
    write_whole(join(one.output, f"{UNFINISHED}1"), b"half")
    assert one.left() == ([Chunk(16, 16)], 3)
    found = file_system.get_file_info(fs.FileSelector(path))
    assert sorted(info.base_name for info in found) == ["part-000000000000.parquet", "part-000000000032.parquet"]


def test_a_damaged_part_is_named(job: Job) -> None:
    begun = job.begin_or_resume(print)
    Path(job.output, "part-000000000000.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(CommandError, match=r"part-000000000000\.parquet"):
        begun.left()


def test_a_file_that_is_being_written_is_none_to_readers_of_parquet_folders(job: Job) -> None:
    Path(job.output).mkdir()
    job.write(Chunk(0, 1), rows(None))
    Path(job.output, f"{UNFINISHED}1").write_bytes(b"half")
    assert dataset(job.output).count_rows() == 1


@pytest.mark.parametrize(
    ("error", "calls"),
    [(OSError("busy"), 3), (FileNotFoundError(), 1), (OSError(errno.ENOSPC, "No space left on device"), 1)],
)
def test_a_store_that_refuses_is_asked_again_unless_waiting_does_not_help(error: OSError, calls: int) -> None:
    asked: list[None] = []

    def refuse() -> None:
        asked.append(None)
        raise error

    with pytest.raises(type(error)):
        retried(refuse, waits=(0, 0))
    assert len(asked) == calls
