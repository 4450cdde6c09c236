from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install -e '.[bulk]'")

from densenet_serving.build.archives import Archive
from densenet_serving.bulk import manifest, parts
from densenet_serving.bulk.filesystems import UNFINISHED, write_whole
from densenet_serving.bulk.job import Job
from densenet_serving.bulk.manifest import GROUP, Chunk, Manifest
from densenet_serving.bulk.parts import Done
from densenet_serving.bulk.photos import Photo
from densenet_serving.errors import CommandError
from tests.bulk.conftest import make_archive, make_photos


@pytest.fixture
def job(tmp_path: Path, lengths: Path) -> Job:
    photos = make_photos(tmp_path / "photos", 3, b"1")
    return Job.of(str(photos), str(tmp_path / "out"), Archive.read(lengths))


def test_a_job_goes_on_with_the_photos_that_it_began_with(job: Job) -> None:
    begun = job.begin_or_resume(print)
    assert (begun.total, begun.chunk) == (3, manifest.SMALLEST_CHUNK)
    Path(job.source, "late.jpg").touch()
    assert job.begin_or_resume(print) == begun


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "/elsewhere"}, "another source"),
        ({"digest": "0"}, "another archive"),
        ({"top_k": 5, "min_probability": 0.5}, "another --top-k, --min-probability"),
    ],
)
def test_another_job_is_refused(job: Job, change: dict[str, object], message: str) -> None:
    job.begin_or_resume(print)
    with pytest.raises(CommandError, match=message):
        replace(job, **change).begin_or_resume(print)  # type: ignore[arg-type]


def test_another_version_of_the_archive_is_another_job(job: Job, tmp_path: Path) -> None:
    job.begin_or_resume(print)
    other = Archive.read(make_archive(tmp_path / "other.mar", "2.0"))
    with pytest.raises(CommandError, match="another version of the model, archive"):
        Job.of(job.source, job.output, other).begin_or_resume(print)


def test_a_folder_with_something_else_in_it_is_refused(job: Job) -> None:
    Path(job.output).mkdir()
    Path(job.output, "thesis.doc").touch()
    with pytest.raises(CommandError, match="holds something else"):
        job.begin_or_resume(print)


def test_listing_that_was_interrupted_begins_anew(job: Job) -> None:
    Path(job.output, "_job").mkdir(parents=True)
    Path(job.manifest).write_bytes(b"half")
    assert job.begin_or_resume(print).total == 3


def test_files_that_are_no_photos_by_their_names_are_told(job: Job) -> None:
    for name in "abcd":
        Path(job.source, f"{name}.mov").touch()
    said: list[str] = []
    job.begin_or_resume(said.append)
    assert "Left out, since the names of images end in .avif, " in said[-1]
    assert "a.mov" in said[-1]
    assert "and 1 more. Name such photos in a .txt file" in said[-1]


def test_a_source_without_photos_is_refused(job: Job, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CommandError, match="holds no photo"):
        replace(job, source=str(tmp_path / "empty")).begin_or_resume(print)


def test_a_column_is_looked_for_in_parquet_files(job: Job) -> None:
    with pytest.raises(CommandError, match=r"holds no photo: expected \.parquet files"):
        replace(job, column="image").begin_or_resume(print)


def test_an_output_that_is_a_file_is_refused(job: Job) -> None:
    Path(job.output).touch()
    with pytest.raises(
        CommandError, match=r"out cannot be used \(.*Cannot list directory.*\): choose another output folder"
    ):
        job.begin_or_resume(print)


def test_an_output_that_cannot_be_made_is_refused(job: Job) -> None:
    with pytest.raises(CommandError, match=r"/proc/out cannot be used \(.*\): choose another output folder"):
        replace(job, output="/proc/out").begin_or_resume(print)


@pytest.mark.parametrize("content", ["", "[]", '{"source": "photos", "of": "later"}'])
def test_a_damaged_record_is_refused(job: Job, content: str) -> None:
    job.begin_or_resume(print)
    Path(job.record).write_text(content)
    with pytest.raises(CommandError, match=r"job\.json is damaged or of another version: choose another output folder"):
        job.begin_or_resume(print)


def test_a_damaged_part_is_named(job: Job) -> None:
    job.begin_or_resume(print)
    Path(job.output, "part-000000000000.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(CommandError, match=r"part-000000000000\.parquet cannot be read .* delete it to have"):
        list(parts.written(job.output))


@pytest.mark.parametrize("total", [1, 16, 17, 5000, GROUP * 300 + 1])
def test_chunks_cover_every_photo_once_and_lie_in_one_group(total: int) -> None:
    chunks = list(manifest.chunks(total, manifest.chunk_size(total)))
    ends = [0, *(chunk.first + chunk.count for chunk in chunks)]
    assert [chunk.first for chunk in chunks] == ends[:-1]
    assert ends[-1] == total
    assert all(chunk.first // GROUP == (chunk.first + chunk.count - 1) // GROUP for chunk in chunks)


def test_the_manifest_gives_a_chunk_its_photos(tmp_path: Path) -> None:
    photos = [Photo(f"{i}.jpg", "shard.tar", i, 7) for i in range(GROUP + 5)]
    assert manifest.write(str(tmp_path / "photos.parquet"), photos) == len(photos)
    read = Manifest(str(tmp_path / "photos.parquet"))
    assert read.photos(Chunk(16, 4)) == photos[16:20]
    assert read.photos(Chunk(GROUP, 5)) == photos[GROUP:]


def test_the_manifest_is_open_only_while_it_is_read(tmp_path: Path) -> None:
    name = str(tmp_path / "photos.parquet")
    manifest.write(name, [Photo("a.jpg")])
    read = Manifest(name)
    assert read.photos(Chunk(0, 1)) == [Photo("a.jpg")]
    assert name not in [file.path for file in psutil.Process().open_files()]


def test_parts_are_counted_and_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    good, bad = {"id": 0, "path": "a"}, {"id": 1, "path": "b", "error_code": 404, "error_message": "not there"}
    done = parts.write(str(tmp_path), Chunk(0, 2), parts.collect([[good], [bad]]))
    (tmp_path / f"part-000000000002.parquet.1{UNFINISHED}").write_bytes(b"half")
    assert done == Done(first=0, rows=2, errors=1)
    assert list(parts.written(str(tmp_path))) == [done]
    assert [path.name for path in tmp_path.iterdir()] == ["part-000000000000.parquet"]


def test_a_store_that_refuses_for_a_while_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "not yet there"
    monkeypatch.setattr("time.sleep", lambda _: folder.mkdir(exist_ok=True))
    monkeypatch.setattr("densenet_serving.bulk.filesystems.FINAL", (PermissionError,))
    write_whole(str(folder / "part"), b"whole")
    assert (folder / "part").read_bytes() == b"whole"
