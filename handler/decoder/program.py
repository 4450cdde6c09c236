"""What a decoder process runs: it reads one file after another from its socket and answers each, until the worker ends.

The kernel ends the process in the middle of any codec once a file has taken its CPU time. An allocation past the limit
of memory fails, and the codec says so or ends the process. handler/decoding.py then starts another.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from http import HTTPStatus
from typing import Any, BinaryIO

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
from handler.decoder.messages import ANSWER, GREETING, QUESTION, READY, SIDES, Task
from handler.errors import RequestError
from handler.images import decode, sides
from handler.memory import limit_growth
from handler.preprocessing import preprocess
from handler.settings import Settings


def main(arguments: str) -> None:
    """Serve the socket that is standard input and output; `arguments` are JSON: settings and preprocessing."""
    chosen: dict[str, Any] = json.loads(arguments)
    settings, spec = Settings(**chosen["settings"]), Preprocessing(**chosen["preprocessing"])
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    Image.preinit()  # imports what it first opens a file with
    warnings.simplefilter("ignore")  # Pillow's, on files that it reads all the same
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # as many processes decode at the same time as there are cores
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # libraries write to them
        os.dup2(nothing, stream)
    limit_growth(settings.decode_memory)
    closed = confine().encode()
    writer.write(GREETING.pack(READY, len(closed)) + closed)
    writer.flush()
    serve(reader, writer, settings, spec)


def serve(reader: BinaryIO, writer: BinaryIO, settings: Settings, spec: Preprocessing) -> None:
    while len(question := reader.read(QUESTION.size)) == QUESTION.size:
        task, seconds, size = QUESTION.unpack(question)
        data = reader.read(size)
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, seconds)
        status, content = answer(task, data, settings, spec)
        signal.setitimer(signal.ITIMER_PROF, 0)
        writer.write(ANSWER.pack(status, time.process_time() - began, len(content)))
        writer.write(content)
        writer.flush()


def answer(task: Task, data: bytes, settings: Settings, spec: Preprocessing) -> tuple[int, bytes | memoryview]:
    """Return a status and the content of an answer (handler/decoder/messages.py)."""
    try:
        if task == b"sides":
            return HTTPStatus.OK, SIDES.pack(*sides(data, settings))
        pixels = preprocess(decode(data, settings, spec.resize), spec)
        return HTTPStatus.OK, pixels.tobytes()
    except RequestError as error:
        return error.status, str(error).encode(errors="replace")


if __name__ == "__main__":
    main(sys.argv[1])
