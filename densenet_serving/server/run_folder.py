"""The folder of one server: its logs, tokens, unpacked models and sockets. One command at a time changes what runs.

Models are unpacked there since systemd and others clear /tmp of what is ten days old, and a worker whose model is gone
never starts again. Only where a Unix socket cannot be in the run folder, since its path has more than 107 bytes or the
file system has no sockets or is mounted noexec, the sockets are in a temporary folder, which links to the models.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from densenet_serving import paths
from densenet_serving.client.endpoint import KEY_FILE
from densenet_serving.console import note
from densenet_serving.temporary import SOCKET_BYTES, is_noexec, make_temporary

LOCK_FILE = "lock"
MADE_BY = "Made by densenet serve"  # begins the settings that a start writes there
UNPACKED = "unpacked"
SOCKETS = "sockets"  # a link to the folder of the sockets, if that is another
MODELS = "models"  # TorchServe's name for the folder with the unpacked models
LONGEST_SOCKET = ".ts.sock.65535"
LONGEST_FOLDER = SOCKET_BYTES - len("/" + LONGEST_SOCKET)
# The JVM loads the code for Unix sockets from there.
WITHOUT_CODE = "workers listen on TCP ports from 9000 up, which have to be free, unless TMPDIR names another folder"


@contextmanager
def sole_command(run_dir: Path) -> Iterator[None]:
    """Keep every other command that starts or stops from this run folder until the block ends, or wait for it.

    The kernel gives the lock up with its process, however that ends. A folder that is empty afterwards is removed.
    """
    lock = FileLock(run_dir / LOCK_FILE, mode=0o600)
    while not lock.is_locked:
        run_dir.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # another command has just removed the empty folder
            _acquire(lock, run_dir)
    try:
        yield
    finally:
        (run_dir / LOCK_FILE).unlink(missing_ok=True)  # who waits for it sees that it is gone, and makes another
        lock.release()
        with suppress(OSError):
            run_dir.rmdir()


def _acquire(lock: FileLock, run_dir: Path) -> None:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        note(f"Another densenet command starts or stops a server in {run_dir}: waiting until it is done.")
        lock.acquire()


def prepare(run_dir: Path) -> Path:
    """Make the run folder, or remove what an earlier server left in it. Returns its full path."""
    run_dir.mkdir(parents=True, exist_ok=True)
    clear(run_dir)
    found = run_dir.stat()
    if found.st_uid == os.geteuid():
        run_dir.chmod(stat.S_IMODE(found.st_mode) & ~0o022)  # who can write there may give it other tokens and keys
    logs = run_dir / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir()
    return run_dir.resolve()


def is_run_folder(folder: Path) -> bool:
    """Tell whether a server was started with a folder, so that what is there may be removed."""
    config = folder / paths.SERVER_CONFIG.name
    return config.is_file() and MADE_BY in config.read_text(errors="replace")


def clear(run_dir: Path) -> None:
    """Remove what a server that has ended leaves: tokens, unpacked models, sockets."""
    elsewhere = run_dir / SOCKETS
    if (elsewhere / MODELS).is_symlink():
        shutil.rmtree(elsewhere.resolve(), ignore_errors=True)
    shutil.rmtree(run_dir / UNPACKED, ignore_errors=True)
    for name in (SOCKETS, KEY_FILE):
        (run_dir / name).unlink(missing_ok=True)


def make_unpacked(run_dir: Path) -> Path:
    """Return a new folder for TorchServe's java.io.tmpdir. Raises CommandError."""
    folder = run_dir / UNPACKED
    folder.mkdir(mode=0o700)
    if has_sockets(folder) and not is_noexec(folder):
        return folder
    try:
        short = make_temporary("densenet-", LONGEST_FOLDER, last=run_dir, without_code=WITHOUT_CODE)
    except BaseException:
        folder.rmdir()
        raise
    (short / MODELS).symlink_to(folder)
    (run_dir / SOCKETS).symlink_to(short)
    return short


def has_sockets(folder: Path) -> bool:
    """Tell whether workers can listen in a folder."""
    path = folder / LONGEST_SOCKET
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(os.fspath(path))
        except OSError:
            return False
    path.unlink()
    return True


def hold(folder: Path) -> int:
    """Lock a folder: while the file descriptor is open, systemd leaves what is in it alone (tmpfiles.d(5))."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor
