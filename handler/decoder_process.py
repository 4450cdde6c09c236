"""One decoder process as the worker sees it, which may end with any file, and what the two send over a socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import weakref
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from handler.card import Preprocessing
from handler.errors import BadRequest, PayloadTooLarge, RequestError, ServiceUnavailable
from handler.settings import Settings

# Width and height as SIDES, or the pixels that the model sees, uint8 (crop, crop, 3).
Task = Literal[b"sides", b"pixel"]
SIDES = struct.Struct("=QQ")
# A task, the seconds of CPU time that it may take, and the bytes of the file, which follows.
QUESTION = struct.Struct("=5sdQ")
# An HTTP status, the seconds of CPU time that were taken, and the bytes of the content that follows: what was asked
# for with the status 200, else the sentence that refuses the file. The first answer comes unasked, once the process is
# ready: a sentence that says what is closed to it.
ANSWER = struct.Struct("=HdQ")
ERRORS = {int(kind.status): kind for kind in RequestError.__subclasses__()}

ROOT = Path(__file__).resolve().parents[1]  # the archive, or the repository
# Nothing of the worker's environment, which may hold secrets. numpy would start a thread a core.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from handler.decoder_program import main; main(sys.argv[1])"

NOT_STARTED = "The server could not start a process that decodes the image: send it again."
TOO_BUSY = "The server is too busy to decode the image: send it again later."
STRANGE = "Decoding the image ended in an answer that makes no sense: send the picture saved again."
LONGEST_SENTENCE = 10_000  # bytes
ENDING = 2.0  # s that a process may take to end once the kernel ends it
STARTUP = 60.0  # s a process may take to start, on a busy machine
# Times its CPU time that a file may take by the clock, on a machine that does other things.
PATIENCE = 10
SOCKET_BYTES = 1 << 20  # of its buffers: an ordinary photo, and its pixels, go through in one call


@dataclass(frozen=True)
class Answer:
    """What came of one file: what was asked for or an error, and the CPU time it took, in s."""

    outcome: bytes | RequestError
    seconds: float


class Gone(Exception):
    """The process has ended, or does not answer."""


class Process:
    """A process that ends with its worker, since its socket is then closed, and with this object."""

    def __init__(self, settings: Settings, spec: Preprocessing) -> None:
        """Start it without waiting for it: `greeting` does."""
        self._limit = settings.decode_seconds
        chosen = json.dumps({"settings": asdict(settings), "preprocessing": asdict(spec)})
        path = [str(ROOT), *(str(Path(folder).resolve()) for folder in sys.path)]
        self._socket, theirs = socket.socketpair()
        for end in (self._socket, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", PROGRAM, chosen, *path],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=ENVIRONMENT | {name: os.environ[name] for name in KEPT if name in os.environ},
                cwd="/",
            )
        self.end = weakref.finalize(self, _end, self._process, self._socket)
        self._sizes: dict[Task, int] = {b"sides": SIDES.size, b"pixel": spec.crop * spec.crop * 3}
        self._greeting = ""

    def greeting(self) -> str:
        """Wait until it is ready; returns what is closed to it. Raises Gone or TimeoutError."""
        if not self._greeting:
            *_, content = self._receive(time.monotonic() + STARTUP)
            self._greeting = content.decode()
        return self._greeting

    def ask(self, task: Task, data: bytes | bytearray, seconds: float) -> Answer:
        """Give it one file and `seconds` of CPU time. If it is `alive` no more afterwards, the file is why."""
        try:
            self.greeting()
        except (Gone, TimeoutError):
            return self._ended(ServiceUnavailable(NOT_STARTED), 0)
        began = time.monotonic()
        until = began + PATIENCE * self._limit
        try:
            self._send(QUESTION.pack(task, seconds, len(data)), data, until)
            status, taken, content = self._receive(until)
        except TimeoutError:
            return self._ended(ServiceUnavailable(TOO_BUSY), seconds)
        except Gone:
            return self._ended(self._cause(), min(seconds, time.monotonic() - began))
        # A file may have made the process do anything: what it answers is checked as a stranger's.
        taken = min(seconds, max(0.0, taken))
        if status == HTTPStatus.OK and len(content) == self._sizes[task]:
            return Answer(content, taken)
        if status in ERRORS:
            return Answer(ERRORS[status](content.decode(errors="replace")), taken)
        return self._ended(BadRequest(STRANGE), taken)

    @property
    def alive(self) -> bool:
        return self.end.alive

    def _ended(self, error: RequestError, seconds: float) -> Answer:
        self.end()
        return Answer(error, seconds)

    def _cause(self) -> RequestError:
        """Say why the process ended by itself; one that goes on, but not as it should, is ended here."""
        self._socket.close()
        try:
            code = self._process.wait(ENDING)
        except subprocess.TimeoutExpired:
            return BadRequest(STRANGE)
        if code == -signal.SIGPROF:
            return PayloadTooLarge(
                f"The image takes more than {self._limit:g} s to decode: send a smaller picture, or save it again."
            )
        name = signal.Signals(-code).name if code < 0 else f"status {code}"
        return BadRequest(f"Decoding the image ended its process ({name}): send the picture saved again.")

    def _send(self, question: bytes, data: bytes | bytearray, until: float) -> None:
        """Send both at once, so that the process is woken once."""
        try:
            self._socket.settimeout(max(0.001, until - time.monotonic()))
            sent = self._socket.sendmsg([question, data]) - len(question)
            if sent < len(data):
                self._socket.sendall(memoryview(data)[sent:])
        except ConnectionError as error:
            raise Gone from error

    def _receive(self, until: float) -> tuple[int, float, bytes]:
        received, status, seconds, size = b"", 0, 0.0, 0
        while len(received) < ANSWER.size + size:
            received += self._piece(until)
            if len(received) >= ANSWER.size:
                status, seconds, size = ANSWER.unpack_from(received)
                if size > max(LONGEST_SENTENCE, *self._sizes.values()):
                    raise Gone
        return status, seconds, received[ANSWER.size :]

    def _piece(self, until: float) -> bytes:
        try:
            self._socket.settimeout(max(0.001, until - time.monotonic()))
            piece = self._socket.recv(SOCKET_BYTES)
        except ConnectionError as error:
            raise Gone from error
        if not piece:
            raise Gone
        return piece


def _end(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()
    process.kill()
    process.wait()
