"""What a decoder process runs: it reads one file after another from its socket and answers each, until the worker ends.

The kernel ends the process in the middle of any codec once a file has taken its CPU time. An allocation past the limit
of memory fails, and the codec says so or ends the process. handler/decoding.py then starts another.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import sys
import warnings
from http import HTTPStatus
from typing import Any

# Pillow imports a format when it first meets one, and parts of others still later, when this process can open no file.
from PIL import (  # noqa: F401
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImagePalette,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from handler.card import Preprocessing
from handler.decoder_process import ANSWER, QUESTION, SIDES, Task
from handler.errors import RequestError
from handler.images import pixels_of, sides
from handler.memory import give_back_large_blocks, limit_growth
from handler.settings import Settings

PR_SET_NO_NEW_PRIVS = 38
# Of linux/landlock.h; the system calls have these numbers on every architecture but Alpha.
CREATE_RULESET, RESTRICT_SELF = 444, 446
VERSION = 1
FILES = {1: 13, 2: 14, 3: 15, 5: 16}  # how many rights to files there are from a version of Landlock on
NETWORK_FROM, NETWORK = 4, 0b11  # bind and connect of TCP
SCOPES_FROM, SCOPES = 6, 0b11  # abstract sockets and signals


def main(arguments: str) -> None:
    """Serve the socket that is standard input; `arguments` are JSON: settings and preprocessing."""
    chosen: dict[str, Any] = json.loads(arguments)
    settings, spec = Settings(**chosen["settings"]), Preprocessing(**chosen["preprocessing"])
    connection = socket.socket(fileno=os.dup(0))
    Image.preinit()  # imports what it first opens a file with
    warnings.simplefilter("ignore")  # Pillow's, on files that it reads all the same
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # as many processes decode at the same time as there are cores
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # libraries write to them
        os.dup2(nothing, stream)
    give_back_large_blocks()
    limit_growth(settings.decode_memory)
    serve(connection, confine(), settings, spec)


def serve(connection: socket.socket, greeting: str, settings: Settings, spec: Preprocessing) -> None:
    reader = connection.makefile("rb")
    connection.sendall(answer(HTTPStatus.OK, 0, greeting.encode()))
    while len(question := reader.read(QUESTION.size)) == QUESTION.size:
        task, seconds, size = QUESTION.unpack(question)
        data = reader.read(size)
        began = cpu_seconds()
        signal.setitimer(signal.ITIMER_PROF, seconds)
        status, content = perform(task, data, settings, spec)
        signal.setitimer(signal.ITIMER_PROF, 0)
        connection.sendall(answer(status, cpu_seconds() - began, content))


def perform(task: Task, data: bytes, settings: Settings, spec: Preprocessing) -> tuple[int, bytes]:
    """Return a status and the content of an answer (handler/decoder_process.py)."""
    try:
        if task == b"sides":
            return HTTPStatus.OK, SIDES.pack(*sides(data, settings))
        return HTTPStatus.OK, pixels_of(data, spec, settings).tobytes()
    except RequestError as error:
        return error.status, str(error).encode(errors="replace")


def answer(status: int, seconds: float, content: bytes) -> bytes:
    """In one piece, so that the worker is woken once."""
    return ANSWER.pack(status, seconds, len(content)) + content


def cpu_seconds() -> float:
    """What this process has taken so far. time.process_time() is late by milliseconds while a timer counts CPU time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr: what is closed unless a rule opens it, and there are no rules."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def confine() -> str:
    """Take from this process what decoding does not need, for good; whatever it does must be imported and open.

    No file descriptor can be opened any more (RLIMIT_NOFILE of 0, as OpenSSH confines what reads a stranger's bytes),
    which closes files and sockets on every Unix. Landlock, from Linux 5.13 on, closes what needs no descriptor: to run,
    delete or rename a file, and from 6.12 on signals to other processes.

    Returns a sentence for the log: what the kernel closed.
    """
    landlock = _landlock() if sys.platform == "linux" else 0
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):
        resource.setrlimit(limit, (0, 0))
    if landlock:
        return f"Decoders can open no file and no connection (limits, Landlock {landlock})."
    return "Decoders can open no file and no connection (limits; this kernel has no Landlock)."


def _landlock() -> int:
    """Close everything that this kernel's Landlock can; returns its version, 0 if there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return 0
    version = int(libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION)))
    if version < 1:
        return 0
    rights = next(count for since, count in reversed(FILES.items()) if version >= since)
    ruleset = Ruleset(
        (1 << rights) - 1, NETWORK if version >= NETWORK_FROM else 0, SCOPES if version >= SCOPES_FROM else 0
    )
    size = 8 * (1 + (version >= NETWORK_FROM) + (version >= SCOPES_FROM))
    descriptor = libc.syscall(CREATE_RULESET, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0))
    if descriptor < 0:
        return 0
    refused = libc.syscall(RESTRICT_SELF, ctypes.c_int(descriptor), ctypes.c_uint32(0))
    os.close(descriptor)
    return 0 if refused else version
