from __future__ import annotations

import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from densenet_serving.build.mar import MANIFEST, Archive
from densenet_serving.build.pack import publish
from densenet_serving.errors import CommandError
from densenet_serving.files import digest_file, digest_line, sha256_of
from tests.densenet_serving.refusals import refused


@pytest.fixture
def mar(tmp_path: Path) -> Path:
    """A small archive, published as a built one is: with its digest beside it."""
    built = tmp_path / "built"
    write_archive(built)
    return publish(built, tmp_path / "m.mar")


def write_archive(path: Path, member: str | zipfile.ZipInfo = "weights.bin") -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(MANIFEST, json.dumps({"model": {"modelName": "m", "modelVersion": "1.0"}}))
        file.writestr(member, b"weights")


def manifest_of(mar: Path) -> tuple[str, str]:
    archive = Archive.read(mar)
    return archive.name, archive.version


def test_an_archive_is_published_with_its_digest(mar: Path) -> None:
    assert digest_file(mar).read_text() == f"{sha256_of(mar)}  m.mar\n"
    assert manifest_of(mar) == ("m", "1.0")


def test_a_built_archive_has_its_digest(stand_in_archive: Path) -> None:
    assert digest_file(stand_in_archive).read_text() == digest_line(sha256_of(stand_in_archive), stand_in_archive)


def test_sha256sum_reads_the_digest(mar: Path) -> None:
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("sha256sum is not installed")
    subprocess.run([program, "--check", "--strict", digest_file(mar).name], cwd=mar.parent, check=True)


def test_the_digest_of_sha256sum_is_read(mar: Path) -> None:
    digest_file(mar).write_text(f"{sha256_of(mar).upper()} *m.mar\n")
    assert manifest_of(mar) == ("m", "1.0")


def test_another_archive_in_its_place(mar: Path) -> None:
    """Sound as a zip file, so that nothing but the digest can tell."""
    write_archive(mar, "other.bin")
    with refused(mar, r"m.mar was changed or damaged after it was built: .* and m.mar.sha256 says"):
        Archive.read(mar)


def test_an_archive_that_was_cut_short(mar: Path) -> None:
    mar.write_bytes(mar.read_bytes()[:-1])
    with refused(mar, "was changed or damaged after it was built"):
        Archive.read(mar)


@pytest.mark.parametrize("text", ["", "abc  m.mar\n", "g" * 64 + "  m.mar\n", "0" * 63, "\0"])
def test_a_digest_that_is_none(mar: Path, text: str) -> None:
    digest_file(mar).write_text(text)
    with refused(mar, r"m.mar.sha256 holds no SHA-256: build the archive again"):
        Archive.read(mar)


def test_an_archive_without_a_digest_is_taken(mar: Path) -> None:
    digest_file(mar).unlink()
    assert manifest_of(mar) == ("m", "1.0")


@pytest.mark.parametrize("name", ["handler/..py", "a..b", "...", ".hidden", "deep/er/weights.bin", "ünïcode.txt"])
def test_a_member_with_an_unusual_name(tmp_path: Path, name: str) -> None:
    write_archive(tmp_path / "m.mar", name)
    assert manifest_of(tmp_path / "m.mar") == ("m", "1.0")


def rezip(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """Write a sound archive and return its bytes."""
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr(MANIFEST, json.dumps({"model": {"modelName": "m", "modelVersion": "1.0"}}))
        for name, content in members:
            file.writestr(name, content)
    return path.read_bytes()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_of_other_programs_are_taken(tmp_path: Path, method: int) -> None:
    """Packed ones too, and those of writers that do not know a member's size before its content."""
    rezip(tmp_path / "m.mar", ("weights.bin", b"weights" * 1000), method=method)
    assert manifest_of(tmp_path / "m.mar") == ("m", "1.0")

    with (tmp_path / "streamed.mar").open("wb") as file:
        stream = Unseekable(file)
        with zipfile.ZipFile(stream, "w", method) as streamed:
            streamed.writestr(MANIFEST, json.dumps({"model": {"modelName": "m", "modelVersion": "1.0"}}))
            streamed.writestr("weights.bin", b"weights" * 1000)
    assert manifest_of(tmp_path / "streamed.mar") == ("m", "1.0")


class Unseekable(io.RawIOBase):
    """A pipe, as far as a writer can see."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        return self._file.write(content)


def test_a_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"There is no archive .*x.mar: build it"):
        Archive.read(tmp_path / "x.mar")


@pytest.mark.parametrize("content", [b"", b"no zip"])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.mar").write_bytes(content)
    with pytest.raises(CommandError, match=r"x.mar is not a model archive, or damaged: build it again"):
        Archive.read(tmp_path / "x.mar")


def test_a_damaged_member(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.mar", "w") as file:
        file.writestr(MANIFEST, json.dumps({"model": {"modelName": "m", "modelVersion": "1.0"}}))
        file.writestr("model.bin", b"weights")
    content = (tmp_path / "x.mar").read_bytes()
    (tmp_path / "x.mar").write_bytes(content.replace(b"weights", b"wEights"))
    with pytest.raises(CommandError, match="or damaged: build it again"):
        Archive.read(tmp_path / "x.mar")


@pytest.mark.parametrize("manifest", ["", "{}", "[]", '{"model": null}'])
def test_an_archive_with_a_strange_manifest(tmp_path: Path, manifest: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.mar", "w") as file:
        file.writestr(MANIFEST, manifest)
    with pytest.raises(CommandError, match="is not a model archive"):
        Archive.read(tmp_path / "x.mar")
