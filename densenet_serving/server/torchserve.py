"""Start, find and stop one TorchServe process; each server lives in a run folder of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from densenet_serving import paths, properties
from densenet_serving.build.archives import Archive
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.errors import CommandError
from densenet_serving.files import check_space, private_file
from densenet_serving.server import java, processes, run_folder
from densenet_serving.server.capacity import check_memory
from densenet_serving.server.config import settings_of, workers_of
from densenet_serving.server.ports import check_ports

LOG_BYTES = 20_000_000  # room for the first hours; densenet_serving/server/log4j2.xml bounds the rest


@dataclass(frozen=True)
class Server:
    """A running TorchServe."""

    process: psutil.Process
    endpoint: Endpoint

    @classmethod
    def find(cls, run_dir: Path) -> Self | None:
        """Return the server that was started with this run folder, if it still runs.

        Raises CommandError if its files are gone.
        """
        process = processes.find("TorchServe", run_dir)
        if process is None:
            return None
        try:
            return cls(process, Endpoint.from_properties(properties.read(run_dir / paths.SERVER_CONFIG.name), run_dir))
        except CommandError as error:
            raise CommandError(
                f"TorchServe (pid {process.pid}) was started with {run_dir} and still runs, and its files there are "
                f"gone: densenet stop --run-dir {run_dir} ends it."
            ) from error

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def settings(self) -> Path:
        """The file with TorchServe's settings."""
        return self.endpoint.folder / paths.SERVER_CONFIG.name

    @property
    def logs(self) -> Path:
        return self.endpoint.folder / "logs"

    def stop(self) -> None:
        """End the server and its workers, and remove what it leaves: tokens, sockets, unpacked models."""
        processes.end(self.process)
        run_folder.clear(self.endpoint.folder)

    def kill(self) -> None:
        """Do the same at once, where nobody waits for an answer: asked to end, TorchServe takes two seconds.

        Meanwhile it would start again and again a worker that cannot start.
        """
        processes.kill(self.process)
        run_folder.clear(self.endpoint.folder)


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

    run_dir = run_folder.prepare(run_dir)
    needed = LOG_BYTES + sum(archive.unpacked_size for archive in archives)
    check_space(run_dir, needed, "Unpacking the archives beside the log", "choose another --run-dir")
    effective = run_dir / paths.SERVER_CONFIG.name
    comment = f"{run_folder.MADE_BY} from {config.resolve()}: change that file, not this one."
    properties.write(effective, comment, values)
    try:
        process = launch(effective, run_dir, values, foreground)
    except BaseException:
        run_folder.clear(run_dir)
        raise
    return Server(process, Endpoint.from_properties(values, run_dir))


def launch(config: Path, run_dir: Path, values: Mapping[str, str], dies_with_parent: bool) -> psutil.Process:
    """Start Java. Raises CommandError."""
    program = java.find_java()
    temporary = run_folder.make_unpacked(run_dir)
    logs = str(run_dir / "logs")
    held = run_folder.hold(temporary)
    try:
        with private_file(run_dir / "logs" / "console.log") as console:
            return processes.spawn(
                "TorchServe",
                run_dir,
                java.command_line(program, config, temporary, values),
                cwd=run_dir,
                output=console,
                environment=java.environment()
                | {"TMPDIR": str(temporary), "LOG_LOCATION": logs, "METRICS_LOCATION": logs},
                dies_with_parent=dies_with_parent,
                pass_fds=[held],
            )
    except OSError as error:
        raise CommandError(f"{program} cannot be started ({error.strerror}): install Java 11 or newer.") from error
    finally:
        os.close(held)
