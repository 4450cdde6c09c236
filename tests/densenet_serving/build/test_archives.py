from __future__ import annotations

import io
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from densenet_serving.build.archives import (
    MANIFEST,
    Archive,
    BuildCommand,
    archives_in,
    file_of,
    load_models,
    notice_of_description,
    read_all,
)
from densenet_serving.build.pack import publish
from densenet_serving.errors import CommandError
from densenet_serving.files import digest_file, sha256_of
from tests.densenet_serving.build.archive_files import write_archive
from tests.densenet_serving.refusals import refused

COMMAND = BuildCommand.of({"model": "m", "weights": "/a b.pth", "precision": None, "mean": (0.5, 0.4)}, stand_in=True)


@pytest.fixture
def mar(tmp_path: Path) -> Path:
    """A small archive as a built one is: with its digest and its command beside it."""
    publish(write_archive(tmp_path / "packed"), tmp_path / "m.mar")
    COMMAND.write(tmp_path / "m.mar")
    return tmp_path / "m.mar"


def zipped(members: dict[str, str], method: int = zipfile.ZIP_STORED) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written.getvalue()


def test_an_archive_is_published_with_a_digest_that_sha256sum_reads(mar: Path) -> None:
    assert digest_file(mar).read_text() == f"{sha256_of(mar)}  m.mar\n"
    read = Archive.read(mar)
    assert (read.name, read.version) == ("m", "1.0")
    if program := shutil.which("sha256sum"):
        subprocess.run([program, "--check", "--strict", digest_file(mar).name], cwd=mar.parent, check=True)
    digest_file(mar).write_text(f"{sha256_of(mar).upper()} *m.mar\n")
    assert Archive.read(mar) == read
    digest_file(mar).unlink()
    assert Archive.read(mar) == read


@pytest.mark.parametrize("digest", [None, "", "abc  m.mar\n", "g" * 64 + "  m.mar\n", "0" * 63, "\0"])
def test_another_archive_in_its_place(mar: Path, digest: str | None) -> None:
    """Sound as a zip file, so that nothing but the digest can tell."""
    if digest is None:
        write_archive(mar, "2.0")
    else:
        digest_file(mar).write_text(digest)
    with refused(mar, "m.mar.sha256 .*densenet archive --model m"):
        Archive.read(mar)


MODEL = '{"model": {"modelName": "m", "modelVersion": "1.0"}}'
SOUND = zipped({MANIFEST: MODEL, "weights.bin": "weights"})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no zip",
        SOUND[:-1],
        SOUND.replace(b"weights", b"wEights"),
        *(zipped({MANIFEST: manifest}) for manifest in ("", "{}", "[]", '{"model": null}')),
    ],
)
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.mar").write_bytes(content)
    with refused(tmp_path / "x.mar", "not a model archive, or damaged: .* densenet archive"):
        Archive.read(tmp_path / "x.mar")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", ["handler/..py", ".hidden", "deep/er/ünïcode.txt"])
def test_archives_of_other_programs_are_taken(tmp_path: Path, method: int, name: str) -> None:
    (tmp_path / "m.mar").write_bytes(zipped({MANIFEST: MODEL, name: "weights" * 1000}, method))
    assert Archive.read(tmp_path / "m.mar").name == "m"


def test_the_command_is_kept_beside_the_archive_and_can_be_pasted_into_a_shell(mar: Path) -> None:
    assert str(COMMAND) == "densenet archive --model m --weights '/a b.pth' --mean 0.5 0.4"
    assert BuildCommand.read(mar) == COMMAND
    mar.unlink()
    with refused(mar, "no archive .*densenet archive --model m"):
        Archive.read(mar)
    for damaged in ("", "{", "[]", '{"surprise": 1}'):
        file_of(mar).write_text(damaged)
        assert BuildCommand.read(mar) is None


def test_only_checked_archives_are_loaded(tmp_path: Path) -> None:
    for name in ("b.mar", "a.mar"):
        write_archive(tmp_path / name)
    for name in ("c.zip", "c.tar.gz", ".a.mar.partial"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    assert [path.name for path in archives_in(tmp_path)] == ["a.mar", "b.mar"]
    assert load_models(read_all(tmp_path)) == "a.mar,b.mar"


@pytest.mark.parametrize(
    ("versions", "newest_first"),
    [
        (["1.0", "10.0", "2.0"], "10.0 2.0 1.0"),
        (["2.0", "2.0-rc1", "1.0", "2.0.post1", "2.0-rc10", "2.0-rc9"], "2.0.post1 2.0 2.0-rc10 2.0-rc9 2.0-rc1 1.0"),
        (["2026-11-09", "1.0", "2026-11-23", "2026-2-1"], "2026-11-23 2026-11-09 2026-2-1 1.0"),
    ],
)
def test_the_newest_version_of_each_model_is_loaded_first(
    tmp_path: Path, versions: list[str], newest_first: str
) -> None:
    """TorchServe makes the first version of a model that it loads its default."""
    written = [write_archive(tmp_path / f"m-{version}.mar", version) for version in versions]
    written.append(write_archive(tmp_path / "other.mar", "as of today", "other"))
    expected = [*(f"m-{version}.mar" for version in newest_first.split()), "other.mar"]
    assert load_models(map(Archive.read, written)) == ",".join(expected)


@pytest.mark.parametrize("name", ["a,b.mar", "a=b.mar"])
def test_a_name_that_load_models_would_split(tmp_path: Path, name: str) -> None:
    write_archive(tmp_path / name)
    with pytest.raises(CommandError, match=name):
        load_models(read_all(tmp_path))


def test_weights_that_were_trained_here_say_their_accuracy_and_the_way_to_others() -> None:
    weights = {"source": "a student", "sha256": "ab", "license": "MIT", "temperature": 1.2, "newer": "unknown"}
    weights |= {"accuracy": {"top1": 0.41234, "top5": 2 / 3, "evaluated_on": "eval.tar"}}
    said = str(notice_of_description({"customizedMetadata": json.loads(json.dumps({"weights": weights}))}))
    for fact in ("a student", "41.2 %", "66.7 %", "eval.tar", "--weights official"):
        assert fact in said


@pytest.mark.parametrize(
    "metadata",
    [None, "somebody else's", {"weights": [1, 2]}, {"weights": {"source": "a", "sha256": "b", "license": "c"}}],
)
def test_nothing_is_said_of_other_peoples_models_and_older_archives(metadata: object) -> None:
    assert notice_of_description({"customizedMetadata": metadata}) is None
    assert notice_of_description({}) is None
