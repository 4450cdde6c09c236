from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from densenet_serving.server import processes
from densenet_serving.server.processes import Signals, find, runs, started_for, watch
from tests.densenet_serving.conftest import start_part

DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
CHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"


def test_a_part_is_found_by_its_run_folder(gateway_process: psutil.Process, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    assert [find("gateway", tmp_path), find("gateway", tmp_path / "link")] == [gateway_process] * 2
    assert [find("TorchServe", tmp_path), find("gateway", tmp_path / "other")] == [None, None]
    processes.end(gateway_process)
    assert find("gateway", tmp_path) is None


def test_what_a_part_started_is_not_taken_for_it(tmp_path: Path) -> None:
    """Its children have its environment. They are found too once it has died alone."""
    parent = start_part("TorchServe", tmp_path, CHILD)
    [child] = parent.children()
    assert find("TorchServe", tmp_path) == parent
    parent.kill()
    parent.wait()
    assert find("TorchServe", tmp_path) is None
    assert started_for("TorchServe", tmp_path) == [child]
    processes.kill(child)


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_step_of_the_clock_changes_nothing(
    gateway_process: psutil.Process, tmp_path: Path, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = psutil._pslinux.boot_time()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot + seconds)
    assert find("gateway", tmp_path) == gateway_process
    assert runs(gateway_process)


def test_a_process_that_ended_does_not_run_though_nobody_waited_for_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = psutil.Process(process.pid)
        assert runs(found)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not runs(found)
    assert not runs(found)


@pytest.mark.parametrize("end", [processes.end, processes.kill])
def test_a_process_that_does_not_listen_ends_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Callable[[psutil.Process], None]
) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    parent = start_part("TorchServe", tmp_path, f"{DEAF}; {CHILD}")
    [child] = parent.children()
    end(parent)
    assert not runs(parent)
    assert not runs(child)
    end(parent)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_a_killed_parent_leaves_no_child(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from densenet_serving.server import processes; "
        f"one = processes.spawn('gateway', Path({str(tmp_path)!r}), ['sleep', '60'], cwd=Path('/'), output=2, "
        "dies_with_parent=True); print(one.pid, flush=True); input()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    assert psutil.wait_procs([child], timeout=20)[1] == []


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_second_signal_cannot_wait(second: signal.Signals) -> None:
    signals = Signals()
    signal.raise_signal(signal.SIGTERM)
    assert (signals.end.is_set(), signals.at_once.is_set()) == (True, False)
    signal.raise_signal(second)
    assert signals.at_once.is_set()


def test_the_end_of_the_terminal_is_ignored_under_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert signal.SIGHUP not in processes.ending()


def test_a_watch_ends_with_a_process_or_an_event_or_its_seconds(gateway_process: psutil.Process) -> None:
    event = threading.Event()
    parts = {"one": psutil.Process(), "other": gateway_process}
    assert watch(parts, event, 0.01) is None
    processes.end(gateway_process)
    assert watch(parts, event) == "other"
    event.set()
    assert watch(parts, event) is None
