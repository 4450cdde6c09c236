"""The command: on a Ray that runs already, and once on one of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import psutil
import pytest
import typer

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[bulk]'")

from densenet_serving import paths
from densenet_serving.bulk import cluster
from densenet_serving.bulk.filesystems import write_whole
from densenet_serving.cli.bulk import bulk as here
from densenet_serving.errors import CommandError
from tests.bulk.conftest import ENVIRONMENT, TIMEOUT_SECONDS, Bulk, command, make_photos, rows
from tests.disks import small_disk
from tests.waiting import until


def lives(process: psutil.Process) -> bool:
    """Ray's two agents do not count: they end when they have not heard from the others for a minute."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "Agent" not in process.name()
    except psutil.NoSuchProcess:
        return False


def unpacked() -> set[Path]:
    """List the archives that workers unpacked and left behind."""
    return set(Path(tempfile.gettempdir()).glob("archive-*"))


def test_every_photo_is_a_row_though_a_worker_dies_and_a_second_run_has_nothing_to_do(
    bulk: Bulk, lengths: Path, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Some photos and the output are in a store, some on this machine."""
    photos = make_photos(tmp_path / "photos", 16, b"1")
    (photos / "00007.jpg").write_bytes(b"")
    (photos / "00009.jpg").unlink()
    (photos / "00011.jpg").write_bytes(deadly := f"deadly {tmp_path}/once".encode())
    far = [f"s3://bucket/photos/{name}{store}" for name in ("there.jpg", "empty.jpg", "missing.jpg")]
    for name, content in zip(far, (b"22", b""), strict=False):
        write_whole(name, content)
    names = [*(f"{photos}/{i:05d}.jpg" for i in range(16)), *far]
    listed, output = tmp_path / "all.txt", f"s3://bucket/labels{store}"
    listed.write_text("\n".join(names))

    before = unpacked()
    done = bulk(listed, output)
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "once").exists()
    assert unpacked() <= before
    found = rows(output)
    assert [row["path"] for row in found] == names
    assert {row["id"]: row["error_code"] for row in found if row["error_code"]} == {7: 400, 9: 404, 17: 400, 18: 404}
    assert [found[i]["class_id"] for i in (6, 11, 16)] == ["n1", f"n{len(deadly)}", "n2"]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["photos"], summary["done"], summary["errors"]) == (19, 19, 4)

    with pytest.raises(typer.Exit) as again:
        here(str(listed), output, str(lengths))
    assert again.value.exit_code == 1
    assert "19 of 19 photos were classified before." in capsys.readouterr().err
    with pytest.raises(CommandError, match="--top-k"):
        here(str(listed), output, str(lengths), top_k=3)
    assert rows(output) == found


def test_after_a_kill_and_on_a_disk_that_was_full_the_same_command_goes_on_and_each_photo_is_there_once(
    bulk: Bulk, lengths: Path, tmp_path: Path
) -> None:
    photos = make_photos(tmp_path / "photos", 200, b"slow")
    with small_disk(tmp_path / "disk", 1) as mounted:
        output = tmp_path / "disk" / "out"
        running = subprocess.Popen(
            command(photos, output, lengths),
            cwd=paths.ROOT,
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: len(list(output.glob("part-*.parquet"))) >= 2, TIMEOUT_SECONDS)
        family = psutil.Process(running.pid).children(recursive=True)
        listening = {
            connection.laddr.ip.removeprefix("::ffff:")
            for process in family
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        running.kill()
        running.wait()
        until(lambda: not [process for process in family if lives(process)], TIMEOUT_SECONDS)
        assert listening == {"127.0.0.1"}
        assert len(rows(output)) < 200
        with cluster.folder():  # the next to start a Ray removes what the killed one left
            assert list(Path(tempfile.gettempdir()).glob(f"densenet-bulk-{running.pid}-*")) == []

        if mounted:  # only root can mount a small file system
            ballast = tmp_path / "disk" / "ballast"
            ballast.write_bytes(bytes(shutil.disk_usage(tmp_path / "disk").free))
            full = bulk(photos, output)
            assert full.returncode == 1
            assert "No space left" in full.stderr, full.stderr
            ballast.unlink()
        done = bulk(photos, output)
        assert done.returncode == 0, done.stderr
        assert [row["id"] for row in rows(output)] == list(range(200))


def test_a_photo_that_kills_every_worker_ends_the_run_with_a_sentence(bulk: Bulk, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 1, b"deadly /proc/nobody/can/write/here")
    done = bulk(photos, tmp_path / "out")
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line]
    assert len(said) == 2, said
    assert "run the same command to resume" in said[1]
