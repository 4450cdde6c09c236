from __future__ import annotations

import json
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest

from scripts import archive
from scripts.archive import MANIFEST, read_manifest
from scripts.download import sha256_of
from scripts.errors import CommandError
from scripts.integrity import digest_file, digest_line


@pytest.fixture
def mar(tmp_path: Path) -> Path:
    """A small archive, published as a built one is: with its digest beside it."""
    built = tmp_path / "built"
    write_archive(built)
    return archive.move_into(built, tmp_path / "m.mar")


def write_archive(path: Path, member: str | zipfile.ZipInfo = "weights.bin") -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(MANIFEST, json.dumps({"model": {"modelName": "m", "modelVersion": "1.0"}}))
        file.writestr(member, b"weights")


def assert_refused(mar: Path, why: str) -> None:
    with pytest.raises(CommandError, match=why) as refusal:
        read_manifest(mar)
    assert str(mar) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_archive_is_published_with_its_digest(mar: Path) -> None:
    assert digest_file(mar).read_text() == f"{sha256_of(mar)}  m.mar\n"
    assert read_manifest(mar) == ("m", "1.0")


def test_a_built_archive_has_its_digest(stand_in_archive: Path) -> None:
    assert digest_file(stand_in_archive).read_text() == digest_line(sha256_of(stand_in_archive), stand_in_archive)


def test_sha256sum_reads_the_digest(mar: Path) -> None:
    program = shutil.which("sha256sum")
    if program is None:
        pytest.skip("sha256sum is not installed")
    subprocess.run([program, "--check", "--strict", digest_file(mar).name], cwd=mar.parent, check=True)


def test_the_digest_of_sha256sum_is_read(mar: Path) -> None:
    digest_file(mar).write_text(f"{sha256_of(mar).upper()} *m.mar\n")
    assert read_manifest(mar) == ("m", "1.0")


def test_another_archive_in_its_place(mar: Path) -> None:
    """Sound as a zip file, so that nothing but the digest can tell."""
    write_archive(mar, "other.bin")
    assert_refused(mar, r"m.mar was changed or damaged after it was built: .* and m.mar.sha256 says")


def test_an_archive_that_was_cut_short(mar: Path) -> None:
    mar.write_bytes(mar.read_bytes()[:-1])
    assert_refused(mar, "was changed or damaged after it was built")


@pytest.mark.parametrize("text", ["", "abc  m.mar\n", "g" * 64 + "  m.mar\n", "0" * 63, "\0"])
def test_a_digest_that_is_none(mar: Path, text: str) -> None:
    digest_file(mar).write_text(text)
    assert_refused(mar, r"m.mar.sha256 holds no SHA-256: build the archive again")


def test_an_archive_without_a_digest_is_taken(mar: Path) -> None:
    digest_file(mar).unlink()
    assert read_manifest(mar) == ("m", "1.0")


@pytest.mark.parametrize(
    "name",
    [
        "/etc/cron.d/evil",
        "../evil.py",
        "handler/../../evil.py",
        "..",
        "C:/evil",
        "c:evil",
        "..\\evil",
        "a\\b",
        "a\0.py",
    ],
)
def test_a_member_that_leaves_its_folder(tmp_path: Path, name: str) -> None:
    member = zipfile.ZipInfo("harmless")
    member.filename = name  # ZipInfo's own constructor would tidy it up
    write_archive(tmp_path / "m.mar", member)
    assert_refused(tmp_path / "m.mar", "would be unpacked outside its folder")


def test_a_symbolic_link(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("labels")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    write_archive(tmp_path / "m.mar", link)
    assert_refused(tmp_path / "m.mar", "would be unpacked outside its folder")


@pytest.mark.parametrize("name", ["handler/..py", "a..b", "...", ".hidden", "deep/er/weights.bin", "ünïcode.txt"])
def test_a_member_with_an_unusual_name(tmp_path: Path, name: str) -> None:
    write_archive(tmp_path / "m.mar", name)
    assert read_manifest(tmp_path / "m.mar") == ("m", "1.0")


def test_nothing_is_unpacked_to_find_out(tmp_path: Path) -> None:
    write_archive(tmp_path / "m.mar", "../evil.py")
    assert_refused(tmp_path / "m.mar", "outside its folder")
    assert [path.name for path in tmp_path.iterdir()] == ["m.mar"]
    assert not (tmp_path.parent / "evil.py").exists()
