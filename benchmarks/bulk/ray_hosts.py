"""One or two hosts for Ray on this machine, with a core each."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Tree

PORT = 6399
READY, READY_SECONDS = "block forever", 90  # what `ray start --block` says last


@contextmanager
def ray_hosts(number: int, folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Give the address of a cluster, and the environment of those who may use it."""
    folder.mkdir()
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    address = f"127.0.0.1:{PORT}"
    started: list[Tree] = []
    try:
        for core in range(number):
            role = [f"--address={address}"] if core else ["--head", f"--port={PORT}", "--include-dashboard=false"]
            started.append(start(core, role, folder / f"{core}.log", {**environment, **token}))
        yield address, token
    finally:
        for tree in reversed(started):
            tree.stop()


def start(core: int, role: list[str], log: Path, environment: Mapping[str, str]) -> Tree:
    """Start a host that has one core. Raises TimeoutError, with what Ray said, if it is not ready."""
    command = ["taskset", "--cpu-list", str(core), sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    options = [f"--node-ip-address=127.0.0.{core + 1}", "--num-cpus=1", "--object-store-memory=200000000"]
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, *role, *options], env=environment, stdout=stream, stderr=stream)
    tree, end = Tree(process.pid), time.monotonic() + READY_SECONDS
    while READY not in log.read_text():
        if process.poll() is not None:
            raise TimeoutError(log.read_text())
        if time.monotonic() > end:
            tree.stop()
            raise TimeoutError(log.read_text())
        time.sleep(0.1)
    return tree
