from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from densenet_serving.server import processes
from densenet_serving.server.processes import Identity
from tests.densenet_serving.conftest import start_part

WAIT = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def spawned(tmp_path: Path) -> Iterator[Identity]:
    identity = start_part("TorchServe", tmp_path)
    yield identity
    if process := identity.find():
        processes.kill(process)


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_step_of_the_clock_changes_no_identity(
    spawned: Identity, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = psutil.Process(spawned.pid).create_time()
    boot = psutil._pslinux.boot_time()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot + seconds)
    assert abs(psutil.Process(spawned.pid).create_time() - before) > 3000  # what a step does to psutil's time
    assert Identity.of(spawned.pid) == spawned
    found = spawned.find()
    assert found
    processes.end(found)
    assert spawned.find() is None


def test_a_later_process_with_its_pid_is_another(spawned: Identity) -> None:
    assert Identity(spawned.pid, f"{spawned.start}0").find() is None


def test_the_same_ticks_after_another_boot_are_another(
    spawned: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boot_id").write_text("another\n")
    monkeypatch.setattr(processes, "BOOT_ID", tmp_path / "boot_id")
    assert spawned.find() is None


def test_a_process_that_ended_is_not_found_though_nobody_waited_for_it() -> None:
    with subprocess.Popen(WAIT) as process:
        identity = Identity.of(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert identity.find() is None
        assert Identity.of(process.pid) == identity  # it is a zombie, which has kept its number


def test_none_has_this_pid() -> None:
    with pytest.raises(psutil.NoSuchProcess):
        Identity.of(2**22 + 1)


@pytest.mark.parametrize("state", [{}, {"pid": 1}, {"pid": -1, "start": "a/1"}, {"pid": "1", "start": "a/1"}])
def test_a_state_that_names_no_process(state: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError)):
        Identity.read(state)


def test_what_was_started_for_a_folder_is_found_without_it(spawned: Identity, tmp_path: Path) -> None:
    assert [one.pid for one in processes.started_for("TorchServe", tmp_path)] == [spawned.pid]
    assert processes.started_for("gateway", tmp_path) == []
    assert processes.started_for("TorchServe", tmp_path / "other") == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_killed_parent_leaves_no_child(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from densenet_serving.server import processes; "
        f"one = processes.spawn('gateway', Path({str(tmp_path)!r}), {WAIT!r}, cwd=Path('/'), output=2, "
        "dies_with_parent=True); print(one.pid, flush=True); input()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    assert psutil.wait_procs([child], timeout=20)[1] == []
