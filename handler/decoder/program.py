"""What a decoder process runs: it reads one file after another from its socket and answers each, until the worker ends.

The kernel ends the process in the middle of any codec once a file has taken its CPU time. An allocation past the limit
of memory fails, and the codec says so or ends the process. handler/decoding.py then starts another.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
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
from handler.decoder.confinement import confine
from handler.decoder.process import ANSWER, QUESTION, SIDES, Task
from handler.errors import RequestError
from handler.images import decode, sides
from handler.memory import give_back_large_blocks, limit_growth
from handler.preprocessing import preprocess
from handler.settings import Settings


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
    """Return a status and the content of an answer (handler/decoder/process.py)."""
    try:
        if task == b"sides":
            return HTTPStatus.OK, SIDES.pack(*sides(data, settings))
        return HTTPStatus.OK, preprocess(decode(data, settings, spec.resize), spec).tobytes()
    except RequestError as error:
        return error.status, str(error).encode(errors="replace")


def answer(status: int, seconds: float, content: bytes) -> bytes:
    """In one piece, so that the worker is woken once."""
    return ANSWER.pack(status, seconds, len(content)) + content


def cpu_seconds() -> float:
    """What this process has taken so far. time.process_time() is late by milliseconds while a timer counts CPU time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
