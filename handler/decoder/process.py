"""One decoder process as the worker sees it: it is asked about one file at a time, and may end with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from dataclasses import asdict, dataclass
from pathlib import Path

from handler.card import Preprocessing
from handler.decoder.messages import ANSWER, ERRORS, GREETING, QUESTION, Task
from handler.errors import BadRequest, PayloadTooLarge, RequestError, ServiceUnavailable
from handler.settings import Settings

ROOT = Path(__file__).resolve().parents[2]  # the archive, or the repository
# Nothing of the worker's environment, which may hold secrets. numpy would start a thread a core.
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
KEPT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
PROGRAM = "import sys; sys.path[:] = sys.argv[2:]; from handler.decoder.program import main; main(sys.argv[1])"

NOT_STARTED = "The server could not start a process that decodes the image: send it again."
STARTUP = 60.0  # s a process may take to start, on a busy machine
# Times its CPU time that a file may take by the clock, on a machine that does other things.
PATIENCE = 10


@dataclass(frozen=True)
class Answer:
    """What came of one file: its content (handler/decoder/messages.py) or an error, and the CPU time it took, in s."""

    outcome: bytes | bytearray | RequestError
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
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", PROGRAM, chosen, *path],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env=ENVIRONMENT | {name: os.environ[name] for name in KEPT if name in os.environ},
                cwd="/",
            )
        self.end = weakref.finalize(self, _end, self._process, self._socket)
        self._greeting = ""

    def greeting(self) -> str:
        """Wait until it is ready; returns what is closed to it. Raises Gone or TimeoutError."""
        if not self._greeting:
            _, size = GREETING.unpack(self._read(GREETING.size, until := time.monotonic() + STARTUP))
            self._greeting = self._read(size, until).decode()
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
            self._write(QUESTION.pack(task, seconds, len(data)), until)
            self._write(data, until)
            status, taken, size = ANSWER.unpack(self._read(ANSWER.size, until))
            content = self._read(size, until)
        except TimeoutError:
            error: RequestError = ServiceUnavailable("The server is too busy to decode the image: send it again later.")
            return self._ended(error, seconds)
        except Gone:
            return self._ended(self._cause(), min(seconds, time.monotonic() - began))
        return Answer(content if status == 200 else ERRORS[status](content.decode()), taken)

    @property
    def alive(self) -> bool:
        return self.end.alive

    def _ended(self, error: RequestError, seconds: float) -> Answer:
        self.end()
        return Answer(error, seconds)

    def _cause(self) -> RequestError:
        """Say why the process ended by itself."""
        code = self._process.wait()
        if code == -signal.SIGPROF:
            return PayloadTooLarge(
                f"The image takes more than {self._limit:g} s to decode: send a smaller picture, or save it again."
            )
        name = signal.Signals(-code).name if code < 0 else f"status {code}"
        return BadRequest(f"Decoding the image ended its process ({name}): send the picture saved again.")

    def _write(self, data: bytes | bytearray, until: float) -> None:
        try:
            self._socket.settimeout(max(0.001, until - time.monotonic()))
            self._socket.sendall(data)
        except ConnectionError as error:
            raise Gone from error

    def _read(self, size: int, until: float) -> bytes | bytearray:
        content = bytearray(size)
        view = memoryview(content)
        while view:
            try:
                self._socket.settimeout(max(0.001, until - time.monotonic()))
                received = self._socket.recv_into(view)
            except ConnectionError as error:
                raise Gone from error
            if not received:
                raise Gone
            view = view[received:]
        return content


def _end(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()
    process.kill()
    process.wait()
