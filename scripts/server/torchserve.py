"""Start, find and stop one TorchServe process; each server lives in a run folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from scripts import paths, properties
from scripts.archives.mar import Archive
from scripts.client.endpoint import KEY_FILE, STATE_FILE, Endpoint, read_state
from scripts.errors import CommandError
from scripts.files import check_space, private_file
from scripts.server import environment, processes
from scripts.server.java import find_java
from scripts.server.memory import check_memory
from scripts.server.ports import DEFAULT_ADDRESSES, check_port_is_free
from scripts.server.settings import settings_of
from scripts.temporary import SOCKET_BYTES, make_temporary

# TorchServe puts its workers' sockets there.
LONGEST_TEMPORARY = SOCKET_BYTES - len("/.ts.sock.9000.stdout")
# The JVM loads the code for Unix sockets from there.
WITHOUT_CODE = "workers listen on TCP ports from 9000 up, which have to be free, unless TMPDIR names another folder"
LOG_BYTES = 20_000_000  # room for the first hours; scripts/log4j2.xml bounds the rest


@dataclass(frozen=True)
class Server:
    """A running TorchServe. `created` is the process's start time, since a later process may have the same pid."""

    pid: int
    created: float
    temporary: Path
    endpoint: Endpoint

    @classmethod
    def read(cls, run_dir: Path) -> Self | None:
        """Return the server that was started last with this run folder, unless `stop` ended it."""
        state = read_state(run_dir)
        if state is None:
            return None
        endpoint = Endpoint(**state["endpoint"] | {"folder": run_dir})
        return cls(state["pid"], state["created"], Path(state["temporary"]), endpoint)

    @classmethod
    def find(cls, run_dir: Path) -> Self | None:
        """Return the server that was started with this run folder, if it still runs."""
        server = cls.read(run_dir)
        return server if server and server.process() else None

    def save(self) -> None:
        state = {
            "pid": self.pid,
            "created": self.created,
            "temporary": str(self.temporary),
            "endpoint": self.endpoint.to_dict(),
        }
        (self.endpoint.folder / STATE_FILE).write_text(json.dumps(state, indent=2) + "\n")

    @property
    def settings(self) -> Path:
        """The file with TorchServe's settings."""
        return self.endpoint.folder / paths.SERVER_CONFIG.name

    @property
    def logs(self) -> Path:
        return self.endpoint.folder / "logs"

    def process(self) -> psutil.Process | None:
        return processes.find(self.pid, self.created)

    def stop(self) -> None:
        """End the server and its workers, and remove what it leaves: tokens, sockets, unpacked models."""
        if process := self.process():
            processes.end(process)
        self._remove_what_is_left()

    def kill(self) -> None:
        """Do the same at once, where nobody waits for an answer: asked to end, TorchServe takes two seconds.

        Meanwhile it would start again and again a worker that cannot start.
        """
        if process := self.process():
            processes.kill(process)
        self._remove_what_is_left()

    def _remove_what_is_left(self) -> None:
        shutil.rmtree(self.temporary, ignore_errors=True)
        for name in (STATE_FILE, KEY_FILE):
            (self.endpoint.folder / name).unlink(missing_ok=True)


def start(
    run_dir: Path,
    model_store: Path,
    archives: Sequence[Archive],
    config: Path,
    port: int | None,
    changes: Mapping[str, str] | None = None,
) -> Server:
    """Start TorchServe in the background on these archives of the model store and on nothing else there.

    `changes` are settings that win over those of `config`. Returns as soon as the process runs. Raises CommandError.
    """
    values = settings_of(config, model_store, archives, port, changes or {})
    for key in DEFAULT_ADDRESSES:
        check_port_is_free(key, values[key])
    check_memory(len(archives) * int(values["default_workers_per_model"]))

    run_dir = prepare(run_dir)
    effective = run_dir / paths.SERVER_CONFIG.name
    properties.write(
        effective, f"Made by densenet serve from {config.resolve()}: change that file, not this one.", values
    )
    temporary = folder_for_sockets(run_dir)
    try:
        needed = sum(archive.unpacked_size for archive in archives)
        check_space(temporary, needed, "Unpacking the archives", "set TMPDIR to another folder")
        process = launch(effective, run_dir, temporary)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    server = Server(process.pid, process.create_time(), temporary, Endpoint.from_properties(values, run_dir))
    server.save()
    return server


def prepare(run_dir: Path) -> Path:
    """Make the run folder, or remove what an earlier server left in it. Returns its full path. Raises CommandError."""
    if left := Server.read(run_dir):
        left.stop()  # it ended by itself, and its unpacked models are still there
    run_dir.mkdir(parents=True, exist_ok=True)
    close_to_others(run_dir)
    logs = run_dir / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    check_space(run_dir, LOG_BYTES, "The log", "choose another --run-dir")
    return run_dir.resolve()


def folder_for_sockets(run_dir: Path) -> Path:
    """Make the folder of a server's sockets and unpacked models. Raises CommandError."""
    return make_temporary("densenet-", LONGEST_TEMPORARY, last=run_dir, without_code=WITHOUT_CODE)


def close_to_others(folder: Path) -> None:
    """Let nobody else write into a folder of ours: who can may name the process that `stop` ends."""
    found = folder.stat()
    if found.st_uid == os.geteuid():
        folder.chmod(stat.S_IMODE(found.st_mode) & ~0o022)


def launch(config: Path, run_dir: Path, temporary: Path) -> psutil.Process:
    variables = environment.of_torchserve() | {
        "JAVA_HOME": str(find_java().parent.parent),
        "TMPDIR": str(temporary),  # holds TorchServe's pid file
        "TEMP": str(temporary),  # holds the workers' sockets and the unpacked archives
        "LOG_LOCATION": str(run_dir / "logs"),
        "METRICS_LOCATION": str(run_dir / "logs"),
    }
    torchserve = Path(sys.executable).parent / "torchserve"
    command: list[str | Path] = [
        torchserve,
        "--start",
        "--ncs",
        "--ts-config",
        config,
        "--log-config",
        paths.LOG_CONFIG,
        "--model-store",  # from the file, the program would take it with Java's escapes
        properties.read(config)["model_store"],
    ]
    with private_file(run_dir / "logs" / "console.log") as console:
        subprocess.run(
            command,
            cwd=run_dir,
            env=variables,
            stdout=console,
            stderr=console,
            start_new_session=True,
            umask=0o077,  # TorchServe writes its tokens first and closes the file to others afterwards
            check=False,
        )
    pid_file = temporary / ".model_server.pid"
    if not pid_file.exists():
        raise CommandError(
            f"TorchServe did not start: {(run_dir / 'logs' / 'console.log').read_text(errors='replace').strip()}"
        )
    return psutil.Process(int(pid_file.read_text()))
