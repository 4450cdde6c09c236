"""The work on Ray: one of this machine's own, that nobody else reaches and that leaves nothing behind, or another."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa

from densenet_serving import paths
from densenet_serving.bulk.job import Chunk, Job
from densenet_serving.bulk.worker import Worker
from densenet_serving.errors import CommandError, reason_of
from densenet_serving.temporary import SOCKET_BYTES, make_temporary
from handler.answers import COLUMNS, Answer, Prediction
from handler.settings import MAX_REQUEST_BYTES

PREFIX = "densenet-bulk-"
# Beside the archive it holds little: chunks are numbers, and photos and rows never enter it. Ray's least is 75 MB.
STORE_BYTES = 100_000_000
# Ray puts its sockets there.
LONGEST_FOLDER = SOCKET_BYTES - len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
CLIENT = "ray://"
CONNECT_SECONDS = 10
# A chunk whose worker dies is given to another so many times: a photo that kills every worker ends the run.
RETRIES = 2
TYPES = {str: pa.string(), float: pa.float64(), bool: pa.bool_()}
PREDICTION = pa.struct({column.name: TYPES[column.type] for column in COLUMNS[Prediction]})
ANSWER = {column.name: pa.list_(PREDICTION) if column.is_list else TYPES[column.type] for column in COLUMNS[Answer]}
# The columns of the output. Workers are given what comes from this handler: they import that of the archive.
SCHEMA = pa.schema(
    {"id": pa.int64(), "path": pa.string(), **ANSWER, "error_code": pa.int32(), "error_message": pa.string()}
    | dict.fromkeys(("model_name", "model_version", "model_digest"), pa.string())
)
RESUME = "once that is repaired, run the same command to resume."


@contextmanager
def connect(address: str | None, workers: int, archive_bytes: int, dashboard: bool) -> Iterator[None]:
    """Connect to a cluster, or start Ray here on loopback without telemetry, and end it afterwards.

    Ray's workers look for modules in the folder that is the current one at this moment, before any other: that is
    made the folder of our packages, since a person's own may hold a handler.py or a densenet_client.py.
    """
    settings = {"RAY_USAGE_STATS_ENABLED": "0"}
    if address is None:
        # Its name speaks of other systems: it makes Ray take 127.0.0.1 for its address, and so listen there alone.
        settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # Ray's own token would lie in the home folder, where other users may be able to read it.
        settings["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        # Nothing scales here, but Ray starts one of its two autoscalers. The first takes a second to end.
        settings["RAY_enable_autoscaler_v2"] = "1"
    os.environ.update(settings)  # before ray is imported, which reads them
    import ray

    with ExitStack() as stack:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            options |= {
                "address": "local",  # whatever RAY_ADDRESS says
                "num_cpus": workers,
                "num_gpus": 0,
                "object_store_memory": STORE_BYTES + archive_bytes,
                "include_dashboard": dashboard,
                "_temp_dir": str(stack.enter_context(folder())),
            }
        stack.enter_context(_quiet())
        if address is not None:
            options["address"] = find(address)
        try:
            with chdir(paths.ROOT):
                ray.init(**options)
        except (OSError, RuntimeError) as error:  # ConnectionError and what Ray makes of its own
            raise CommandError(f"Ray at {options['address']} cannot be used ({reason_of(error)}).") from error
        stack.callback(ray.shutdown)
        yield


def find(address: str) -> str:
    """Return the HOST:PORT or ray:// that an address stands for, where somebody listens. Raises CommandError.

    Ray itself would ask in vain for minutes.
    """
    from ray._private.services import canonicalize_bootstrap_address_or_die  # what `auto` means is known to Ray alone

    try:
        found = address if address.startswith(CLIENT) else canonicalize_bootstrap_address_or_die(address)
        host, _, port = found.removeprefix(CLIENT).rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:  # and among the first ConnectionError, if there is none on this host
        raise CommandError(
            f"No Ray cluster answers at {address} ({reason_of(error)}): give HOST:PORT of its head, ray://HOST:PORT of "
            "its client server, or leave out --address."
        ) from error
    return found


@contextmanager
def folder() -> Iterator[Path]:
    """Give Ray a folder of its own. One whose process was killed is removed by the next."""
    own = make_temporary(f"{PREFIX}{os.getpid()}-", LONGEST_FOLDER)
    for left in own.parent.glob(f"{PREFIX}*-*"):
        pid = left.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Ray's C++ writes to the standard error's descriptor, whatever its level, from the person's terminal."""
    terminal, stderr = os.dup(2), sys.stderr
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    with os.fdopen(terminal, "w") as sys.stderr:
        try:
            yield
        finally:
            sys.stderr.flush()
            sys.stderr = stderr
            os.dup2(terminal, 2)


def classify(job: Job, left: Sequence[Chunk], archive: Path, most_workers: int | None) -> Iterator[tuple[int, int]]:
    """Hand chunks to workers on every core. Yields the rows and errors of each when its part is written, in any order.

    Ray must be connected. Raises CommandError, naming the cause, if a chunk cannot be done.
    """
    import ray

    cores = int(ray.cluster_resources().get("CPU", 1))
    count = max(1, min(most_workers or cores, cores, len(left)))
    worker_class = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=RETRIES)(Worker)
    given = job, ray.put(archive.read_bytes()), SCHEMA, MAX_REQUEST_BYTES
    chunks, undone = iter(left), len(left)
    busy = {one.ready.remote(): one for one in [worker_class.remote(*given) for _ in range(count)]}
    try:
        while undone:
            [ended], _ = ray.wait(list(busy))
            report, worker = ray.get(ended), busy.pop(ended)
            if chunk := next(chunks, None):
                busy[worker.do.remote(chunk)] = worker
            del worker  # one that nothing holds ends, and its core is free for another, whose host died
            if report is not None:
                undone -= 1
                yield report
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", error)  # of a worker's own exception
        if isinstance(cause, OSError):
            raise CommandError(f"{job.output} cannot be read or written ({cause}): {RESUME}") from error
        raise CommandError(f"The workers could not go on ({reason_of(cause)}): {RESUME}") from error
