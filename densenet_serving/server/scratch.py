"""The folder in which TorchServe unpacks models and its workers listen.

It is in the run folder: systemd and others clear /tmp of what is ten days old, and a worker whose model is gone never
starts again. Only where a Unix socket cannot be in the run folder, since the path has more than 107 bytes or the file
system has no sockets or is mounted noexec, the sockets are in a temporary folder, which links to the models.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from pathlib import Path

from densenet_serving.temporary import SOCKET_BYTES, is_noexec, make_temporary

NAME = "unpacked"
MODELS = "models"  # TorchServe's name for the folder with the unpacked models
LONGEST_SOCKET = ".ts.sock.65535"
LONGEST_FOLDER = SOCKET_BYTES - len("/" + LONGEST_SOCKET)
# The JVM loads the code for Unix sockets from there.
WITHOUT_CODE = "workers listen on TCP ports from 9000 up, which have to be free, unless TMPDIR names another folder"


def make(run_dir: Path) -> Path:
    """Return a new folder for TorchServe's java.io.tmpdir. Raises CommandError."""
    remove(run_dir / NAME, run_dir)
    folder = run_dir / NAME
    folder.mkdir(mode=0o700)
    if has_sockets(folder) and not is_noexec(folder):
        return folder
    try:
        short = make_temporary("densenet-", LONGEST_FOLDER, last=run_dir, without_code=WITHOUT_CODE)
    except BaseException:
        folder.rmdir()
        raise
    (short / MODELS).symlink_to(folder)
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


def remove(folder: Path, run_dir: Path) -> None:
    """Remove what `make` returned for a run folder, with all that is in it."""
    for path in (folder, run_dir / NAME):
        shutil.rmtree(path, ignore_errors=True)
