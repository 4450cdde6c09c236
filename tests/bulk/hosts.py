"""Ray that runs already: on this machine, or on several hosts that are namespaces of it.

Each host has processes, a network, shared memory and a disk for Ray of its own, and classifies on one core. The first
is the head, which also has the command. All see the same folders, as on a shared file system.
"""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from densenet_serving import paths
from tests.hosts.network import Machine, network
from tests.ports import free_port_range

PORT = 6379
READY_SECONDS = 90
READY = "block forever"  # what `ray start --block` says last
# Whoever has the token may run any program on the hosts, so Ray asks for it.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
# Without what no test needs: workers' logs in the command's output, the dashboard, the autoscaler, ray:// addresses.
WITHOUT_CLIENT = {"RAY_START_HOOK": "tests.bulk.hosts.leave_out_client"}
# Workers take any free port: those from 10002 to 19999, Ray's default, may include the head's.
EVERY_HOST = ("--include-log-monitor=false", "--min-worker-port=0", "--max-worker-port=0")
HEAD = ("--head", "--include-dashboard=false", "--no-monitor")
# Ray gives its workers the environment that it was started in.
STORE_ACCESS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests", "AWS_DEFAULT_REGION": "us-east-1"}
# Ray would wait longer for a host that is silent; here it is about two seconds.
HEALTH = (
    '{"health_check_initial_delay_ms": 500, "health_check_period_ms": 500, '
    '"health_check_timeout_ms": 1000, "health_check_failure_threshold": 2}'
)
# A process there sees no others. Its /dev/shm and the disk "$1" are empty at first.
BOOT = 'mount -t proc proc /proc && mount -t tmpfs tmpfs /dev/shm && mount -t tmpfs tmpfs "$1" && shift && "$@"'


def leave_out_client(ray: Any, head: bool) -> None:
    """Start no server for ray:// addresses, for which `ray start` has no option. Ray calls this before it starts."""
    ray.ray_client_server_port = None


def start_ray(before: Sequence[str | Path], log: Path, environment: dict[str, str], *options: str) -> psutil.Popen:
    """Run `ray start`, with a command line before it, until it is up."""
    ray: list[str | Path] = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--block",
        "--object-store-memory=100000000",
        *EVERY_HOST,
        *options,
    ]
    with log.open("wb") as stream:
        variables = environment | TOKEN | STORE_ACCESS | WITHOUT_CLIENT
        started = psutil.Popen([*before, *ray], cwd=paths.ROOT, env=variables, stdout=stream, stderr=stream)
    end = time.monotonic() + READY_SECONDS
    while READY not in log.read_text():
        assert started.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)
    return started


@contextmanager
def one_machine(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Start Ray on loopback with one core, so that a command has one worker; gives its address."""
    port = free_port_range(1)
    options = ("--node-ip-address=127.0.0.1", f"--port={port}", "--num-cpus=1", f"--temp-dir={folder}")
    started = start_ray([], folder / "ray.log", environment, *HEAD, *options)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        family = [*started.children(recursive=True), started]
        for process in family:
            process.kill()
        psutil.wait_procs(family, READY_SECONDS)


class Host:
    """One of the namespaces."""

    def __init__(self, machine: Machine, folder: Path, environment: dict[str, str]) -> None:
        self.machine = machine
        self._disk, self._log = folder / "ray", folder / f"{machine.cable}.log"
        self._environment = environment
        self._process: psutil.Popen | None = None

    def start(self, *options: str) -> None:
        self._disk.mkdir(exist_ok=True)
        boot: list[str | Path] = ["unshare", "--pid", "--mount", "--fork", "sh", "-c", BOOT, "sh", self._disk]
        address = f"--node-ip-address={self.machine.address}"
        self._process = start_ray(self.machine.command(boot), self._log, self._environment, address, *options)

    def command(self, arguments: Sequence[str | Path]) -> list[str | Path]:
        """Return the command line that runs a program beside Ray's processes."""
        assert self._process is not None
        [first] = self._process.children()
        return ["nsenter", f"--target={first.pid}", "--net", "--pid", "--mount", f"--wd={paths.ROOT}", *arguments]

    def workers(self) -> list[psutil.Process]:
        """Return the processes that classify."""
        everything = [psutil.Process(pid) for pid in self.machine.pids()]
        return [process for process in everything if "ray::Worker" in " ".join(process.cmdline())]

    def kill(self) -> None:
        """End everything on it at once, as a loss of power would: without their first process, the kernel ends all."""
        if self._process is not None and self._process.is_running():
            for first in self._process.children():
                first.kill()
            self._process.wait(READY_SECONDS)


@contextmanager
def cluster(folder: Path, number: int, environment: dict[str, str]) -> Iterator[list[Host]]:
    """Start hosts with one core each. The first is the head."""
    with network(number) as made:
        head, *others = hosts = [Host(machine, folder, environment) for machine in made.units]
        try:
            options = (f"--port={PORT}", f"--temp-dir={folder / 'ray'}", f"--system-config={HEALTH}")
            head.start(*HEAD, *options, "--num-cpus=1")
            for host in others:
                host.start(f"--address={head.machine.address}:{PORT}", "--num-cpus=1")
            yield hosts
        finally:
            for host in hosts:
                host.kill()
