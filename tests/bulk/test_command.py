"""The command: on a Ray that runs already, and once on one of its own."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from densenet_serving import paths
from densenet_serving.bulk import cluster
from tests.bulk.conftest import ENVIRONMENT, Bulk, command, make_photos, rows
from tests.bulk.hosts import needs_ray
from tests.disks import small_disk

pytestmark = needs_ray
WAIT_SECONDS = 60


def wait_for(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def lives(process: psutil.Process) -> bool:
    """Ray's two agents do not count: they end when they have not heard from the others for a minute."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "Agent" not in process.name()
    except psutil.NoSuchProcess:
        return False


def start(source: Path, output: Path, archive: Path) -> subprocess.Popen[bytes]:
    """Run the command until it has written two parts of several."""
    running = subprocess.Popen(
        command(source, output, archive),
        cwd=paths.ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(lambda: len(list(output.glob("part-*.parquet"))) >= 2)
    return running


def test_every_photo_is_a_row_though_a_worker_dies_and_a_second_run_has_nothing_to_do(
    bulk: Bulk, tmp_path: Path
) -> None:
    photos = make_photos(tmp_path / "photos", 20, b"1")
    (photos / "00007.jpg").write_bytes(b"")
    (photos / "00009.jpg").unlink()
    (photos / "00011.jpg").write_bytes(f"deadly {tmp_path}/once".encode())
    listed = tmp_path / "all.txt"
    listed.write_text("\n".join(f"{photos}/{i:05d}.jpg" for i in range(20)))
    output = tmp_path / "out"
    done = bulk(listed, output)
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "once").exists()
    found = rows(output)
    assert [row["path"] for row in found] == listed.read_text().splitlines()
    assert {i: row["error_code"] for i, row in enumerate(found) if row["error_code"]} == {7: 400, 9: 404}
    assert [row["class_id"] for row in found if row["id"] in (6, 11)] == ["n1", f"n{len(f'deadly {tmp_path}/once')}"]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["photos"], summary["done"], summary["errors"]) == (20, 20, 2)

    again = bulk(listed, output)
    assert again.returncode == 1
    assert "20 of 20 photos were classified before." in again.stderr
    refused = bulk(listed, output, "--top-k", "3")
    assert "was begun with another --top-k" in refused.stderr
    assert rows(output) == found


def test_after_a_kill_of_everything_the_same_command_goes_on_and_each_photo_is_there_once(
    bulk: Bulk, slow_photos: Path, lengths: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    running = start(slow_photos, output, lengths)
    family = psutil.Process(running.pid).children(recursive=True)
    listening = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in family
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    running.kill()
    running.wait()
    wait_for(lambda: not [process for process in family if lives(process)])
    assert len(rows(output)) < 200
    with cluster.folder():  # the next to start a Ray removes what the killed one left
        assert list(Path(tempfile.gettempdir()).glob(f"densenet-bulk-{running.pid}-*")) == []
    done = bulk(slow_photos, output)
    assert done.returncode == 0, done.stderr
    assert [row["id"] for row in rows(output)] == list(range(200))
    assert listening == {"127.0.0.1"}


def test_a_photo_that_kills_every_worker_ends_the_run_with_a_sentence(bulk: Bulk, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 1, b"1")
    (photos / "00000.jpg").write_bytes(b"deadly /proc/nobody/can/write/here")
    done = bulk(photos, tmp_path / "out")
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line]
    assert len(said) == 2, said
    assert "run the same command to resume" in said[1]


def test_a_full_disk_ends_the_run_and_with_more_room_it_goes_on(bulk: Bulk, tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 200, b"1")
    with small_disk(tmp_path / "disk", 1) as mounted:
        if not mounted:
            pytest.skip("only root can mount a small file system")
        ballast = tmp_path / "disk" / "ballast"
        ballast.write_bytes(bytes(950_000))
        full = bulk(photos, tmp_path / "disk" / "out")
        assert full.returncode == 1
        assert "No space left" in full.stderr, full.stderr
        ballast.unlink()
        done = bulk(photos, tmp_path / "disk" / "out")
        assert done.returncode == 0, done.stderr
        assert [row["id"] for row in rows(tmp_path / "disk" / "out")] == list(range(200))
