"""Decode the images of a batch to the pixels the model sees, in processes of their own and the cheapest first."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from handler.card import Preprocessing
from handler.decoder_process import SIDES, Gone, Process, Task
from handler.errors import ArchiveError, PayloadTooLarge, RequestError, ServiceUnavailable
from handler.operations import ImageInput
from handler.settings import Settings

logger = logging.getLogger(__name__)

Pixels = NDArray[np.uint8]

# A picture of more pixels than this, 100 MB as Pillow holds them, is not decoded while another such picture is.
LARGE = 25_000_000

# Seconds after which a batch begins no more images: TorchServe kills a worker that takes longer than responseTimeout
# (60 s), and fails every request of its batch.
BATCH_SECONDS = 10

LATE = "The server is busy with large pictures: send this one again."
SPENT = "Another image of this request took too long to decode: send this one in a request of its own."


class Decoded(NamedTuple):
    """Pixels (side, side, 3) or an error for each image, in the order given, and CPU seconds for each request."""

    images: list[Pixels | RequestError]
    seconds: list[float]


@dataclass
class _Image:
    """One encoded image of a request on its way."""

    data: bytes | bytearray
    request: int
    outcome: Pixels | RequestError | None = None
    sides: tuple[int, int] = (0, 0)
    seconds: float = 0.0

    @property
    def pixels(self) -> int:
        return self.sides[0] * self.sides[1]


class Decoder:
    """Decodes as many images at the same time as it has threads, but large ones one at a time.

    There is a process for each thread and one to spare. A file that takes more than `decode_seconds` of CPU time or
    `decode_memory` bytes is refused; if it ends its process, the spare one takes the next image and another is started.
    A batch takes no longer than BATCH_SECONDS and the images then being decoded; the cheapest come first: a small image
    never waits for a large one. A request of which one image took too long gets no more time.
    """

    def __init__(
        self, settings: Settings, spec: Preprocessing, threads: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._spec, self._clock = settings, spec, clock
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="decoder")
        self._large_one = Lock()
        # Threads take processes from the right, so that one that was just started has time to get ready.
        self._processes = deque(Process(settings, spec) for _ in range(threads + 1))

    def wait_until_ready(self) -> None:
        """Raises ArchiveError if a process cannot be started."""
        try:
            [greeting, *_] = [process.greeting() for process in self._processes]
        except (Gone, TimeoutError) as error:
            raise ArchiveError("The processes that decode images cannot be started: see the worker's log.") from error
        logger.info(greeting)

    def decode(self, requests: Iterable[Sequence[ImageInput]]) -> Decoded:
        """Decode the images of all requests of a batch; ready pixels and errors stay as they are."""
        deadline = self._clock() + BATCH_SECONDS
        rows = [[self._image_of(image, i) for image in images] for i, images in enumerate(requests)]
        waiting = [image for images in rows for image in images if isinstance(image, _Image)]
        if len(waiting) > 1:  # one alone needs no order and no budget
            list(self._threads.map(self._measure, waiting))
            for images in rows:
                self._keep_within_budget(image for image in images if isinstance(image, _Image))
            waiting.sort(key=lambda image: image.pixels)
        spent = set[int]()
        begin = self._threads.map if len(waiting) > 1 else map  # one alone is spared the change of threads
        list(begin(partial(self._decode, deadline, spent), waiting))
        seconds = [sum(image.seconds for image in images if isinstance(image, _Image)) for images in rows]
        return Decoded([_outcome(image) for images in rows for image in images], seconds)

    def _image_of(self, image: ImageInput, request: int) -> _Image | Pixels | RequestError:
        return _Image(image, request) if isinstance(image, bytes | bytearray) else image

    def _measure(self, image: _Image) -> None:
        content = self._ask(b"sides", image)
        if content is not None:
            image.sides = SIDES.unpack(content)

    def _keep_within_budget(self, images: Iterable[_Image]) -> None:
        """Refuse the images of one request for which `max_request_pixels` leaves no room."""
        left = self._settings.max_request_pixels
        for image in images:
            if image.pixels <= left:
                left -= image.pixels
                continue
            width, height = image.sides
            image.outcome = PayloadTooLarge(
                f"The request has more than {self._settings.max_request_pixels:,} pixels with this image of "
                f"{width:,} x {height:,}: send it in another request."
            )

    def _decode(self, deadline: float, spent: set[int], image: _Image) -> None:
        if image.outcome is not None:
            return
        with self._large_one if image.pixels > LARGE else nullcontext():
            if image.request in spent:
                image.outcome = PayloadTooLarge(SPENT)
            elif self._clock() >= deadline:
                image.outcome = ServiceUnavailable(LATE)
            else:
                content = self._ask(b"pixel", image)
                if content is not None:
                    side = self._spec.crop
                    image.outcome = np.frombuffer(content, np.uint8).reshape(side, side, 3)
        if image.seconds >= self._settings.decode_seconds:
            spent.add(image.request)

    def _ask(self, task: Task, image: _Image) -> bytes | None:
        """Return what was asked for, or leave the error in the image."""
        process = self._processes.pop()
        answer = process.ask(task, image.data, max(0.01, self._settings.decode_seconds - image.seconds))
        if process.alive:
            self._processes.append(process)
        else:
            self._processes.appendleft(Process(self._settings, self._spec))
        image.seconds += answer.seconds
        if isinstance(answer.outcome, RequestError):
            image.outcome = answer.outcome
            return None
        return answer.outcome


def _outcome(image: _Image | Pixels | RequestError) -> Pixels | RequestError:
    if not isinstance(image, _Image):
        return image
    return ServiceUnavailable(LATE) if image.outcome is None else image.outcome
