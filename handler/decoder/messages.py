"""What a worker and its decoder processes send each other over a socket."""

from __future__ import annotations

import struct
from typing import Literal

from handler.errors import RequestError

# Width and height as SIDES, or the pixels that the model sees, uint8 (crop, crop, 3).
Task = Literal[b"sides", b"pixel"]

# A task, the seconds of CPU time that it may take, and the bytes of the file, which follows.
QUESTION = struct.Struct("=5sdQ")
# An HTTP status, the seconds of CPU time that were taken, and the bytes of the content that follows: what was asked
# for with the status 200, else the sentence that refuses the file.
ANSWER = struct.Struct("=HdQ")
SIDES = struct.Struct("=QQ")
READY = b"ready"  # and the bytes of a sentence that says what is closed to the process
GREETING = struct.Struct("=5sQ")

ERRORS = {int(kind.status): kind for kind in RequestError.__subclasses__()}
