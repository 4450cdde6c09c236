"""Start, find and stop one TorchServe process; each server lives in a run folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from densenet_serving import paths, properties
from densenet_serving.build.archives import Archive
from densenet_serving.client.endpoint import KEY_FILE, STATE_FILE, Endpoint, read_state
from densenet_serving.errors import CommandError
from densenet_serving.files import atomic_write, check_space, private_file
from densenet_serving.server import environment, jvm, processes, scratch
from densenet_serving.server.java import find_java
from densenet_serving.server.memory import check_memory
from densenet_serving.server.ports import check_ports
from densenet_serving.server.processes import Identity
from densenet_serving.server.settings import settings_of, workers_of

LOG_BYTES = 20_000_000  # room for the first hours; densenet_serving/server/log4j2.xml bounds the rest


@dataclass(frozen=True)
class Server:
    """A running TorchServe. `temporary` has its unpacked models and its workers' sockets."""

    identity: Identity
    temporary: Path
    endpoint: Endpoint

    @classmethod
    def read(cls, run_dir: Path) -> Self | None:
        """Return the server that was started last with this run folder, unless `stop` ended it.

        Raises CommandError if the record of it is damaged.
        """
        state = read_state(run_dir)
        if state is None:
            return None
        try:
            endpoint = Endpoint(**state["endpoint"] | {"folder": run_dir})
            return cls(Identity.read(state), Path(state["temporary"]), endpoint)
        except (KeyError, TypeError) as error:
            raise CommandError(
                f"{run_dir / STATE_FILE} is damaged, or of another version: densenet stop ends what runs there."
            ) from error

    @classmethod
    def find(cls, run_dir: Path) -> Self | None:
        """Return the server that was started with this run folder, if it still runs. Raises CommandError."""
        server = cls.read(run_dir)
        return server if server and server.process() else None

    def save(self) -> None:
        state = {
            "pid": self.pid,
            "start": self.identity.start,
            "temporary": str(self.temporary),
            "endpoint": self.endpoint.to_dict(),
        }
        with atomic_write(self.endpoint.folder / STATE_FILE) as partial:
            partial.write_text(json.dumps(state, indent=2) + "\n")

    @property
    def pid(self) -> int:
        return self.identity.pid

    @property
    def settings(self) -> Path:
        """The file with TorchServe's settings."""
        return self.endpoint.folder / paths.SERVER_CONFIG.name

    @property
    def logs(self) -> Path:
        return self.endpoint.folder / "logs"

    def process(self) -> psutil.Process | None:
        return self.identity.find()

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
        scratch.remove(self.temporary, self.endpoint.folder)
        for name in (STATE_FILE, KEY_FILE):
            (self.endpoint.folder / name).unlink(missing_ok=True)


def check_no_lost_server(run_dir: Path) -> None:
    """Raise CommandError if a TorchServe runs that was started with this run folder, which has no record of it."""
    if lost := processes.started_for("TorchServe", run_dir):
        raise CommandError(
            f"TorchServe (pid {lost[0].pid}) was started with {run_dir} and still runs, and the folder's record of it "
            f"({STATE_FILE}) is gone: densenet stop --run-dir {run_dir} ends it."
        )


def start(
    run_dir: Path,
    model_store: Path,
    archives: Sequence[Archive],
    config: Path,
    port: int | None,
    changes: Mapping[str, str] | None = None,
    foreground: bool = False,
) -> Server:
    """Start TorchServe in the background on these archives of the model store and on nothing else there.

    `changes` are settings that win over those of `config`. With `foreground` it ends with this process. Returns as
    soon as Java runs. Raises CommandError.
    """
    values = settings_of(config, model_store, archives, port, changes or {})
    check_ports(values)
    check_memory(sum(workers_of(archive, values) for archive in archives))

    run_dir = prepare(run_dir)
    needed = LOG_BYTES + sum(archive.unpacked_size for archive in archives)
    check_space(run_dir, needed, "Unpacking the archives beside the log", "choose another --run-dir")
    effective = run_dir / paths.SERVER_CONFIG.name
    properties.write(
        effective, f"Made by densenet serve from {config.resolve()}: change that file, not this one.", values
    )
    temporary = scratch.make(run_dir)
    try:
        identity = launch(effective, run_dir, temporary, values, foreground)
    except BaseException:
        scratch.remove(temporary, run_dir)
        raise
    server = Server(identity, temporary, Endpoint.from_properties(values, run_dir))
    try:
        server.save()
    except BaseException:  # a full disk
        server.kill()
        raise
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
    return run_dir.resolve()


def close_to_others(folder: Path) -> None:
    """Let nobody else write into a folder of ours: who can may name the process that `stop` ends."""
    found = folder.stat()
    if found.st_uid == os.geteuid():
        folder.chmod(stat.S_IMODE(found.st_mode) & ~0o022)


def launch(
    config: Path, run_dir: Path, temporary: Path, values: Mapping[str, str], dies_with_parent: bool = False
) -> Identity:
    """Start Java. Raises CommandError."""
    variables = environment.of_torchserve() | {
        "TMPDIR": str(temporary),
        "LOG_LOCATION": str(run_dir / "logs"),
        "METRICS_LOCATION": str(run_dir / "logs"),
    }
    java = find_java()
    held = scratch.hold(temporary)
    try:
        with private_file(run_dir / "logs" / "console.log") as console:
            return processes.spawn(
                "TorchServe",
                run_dir,
                jvm.command_line(java, config, temporary, values),
                cwd=run_dir,
                output=console,
                environment=variables,
                dies_with_parent=dies_with_parent,
                pass_fds=[held],
            )
    except OSError as error:
        raise CommandError(f"{java} cannot be started ({error.strerror}): install Java 11 or newer.") from error
    finally:
        os.close(held)
