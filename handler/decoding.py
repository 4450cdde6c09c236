"""Decode the images of a batch to the pixels the model sees, in processes of their own and the cheapest first."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
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
    """One image of a request on its way: an encoded file, until it has an outcome."""

    request: int
    data: bytes | bytearray
    outcome: Pixels | RequestError | None
    pixels: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, request: int, image: ImageInput) -> _Image:
        return cls(request, image, None) if isinstance(image, bytes | bytearray) else cls(request, b"", image)


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

    def decode(self, requests: Sequence[Sequence[ImageInput]]) -> Decoded:
        """Decode the images of all requests of a batch; ready pixels and errors stay as they are."""
        deadline = self._clock() + BATCH_SECONDS
        images = [_Image.of(i, image) for i, request in enumerate(requests) for image in request]
        waiting = [image for image in images if image.outcome is None]
        begin = self._threads.map if len(waiting) > 1 else map  # one alone is spared the change of threads
        if len(waiting) > 1:  # and needs no order and no budget
            left = [self._settings.max_request_pixels] * len(requests)
            for image, sides in zip(waiting, begin(self._sides, waiting), strict=True):
                self._keep_within_budget(image, sides, left)
            waiting.sort(key=lambda image: image.pixels)
        spent = set[int]()
        list(begin(partial(self._decode, deadline, spent), waiting))
        seconds = [0.0] * len(requests)
        for image in images:
            seconds[image.request] += image.seconds
        return Decoded([image.outcome for image in images if image.outcome is not None], seconds)

    def _sides(self, image: _Image) -> tuple[int, int]:
        content = self._ask(b"sides", image)
        width, height = (0, 0) if content is None else SIDES.unpack(content)
        return width, height

    def _keep_within_budget(self, image: _Image, sides: tuple[int, int], left: list[int]) -> None:
        """Refuse an image for which `max_request_pixels` leaves no room; `left` is what each request has."""
        width, height = sides
        image.pixels = width * height
        if image.pixels <= left[image.request]:
            left[image.request] -= image.pixels
            return
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
