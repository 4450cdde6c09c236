"""Decode the images of a batch to the pixels the model sees: the cheapest first, within a budget of time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from handler import memory
from handler.card import Preprocessing
from handler.errors import RequestError, ServiceUnavailable
from handler.formats.picture import Picture
from handler.images import examine, render
from handler.payload import ImageInput
from handler.preprocessing import preprocess
from handler.settings import Settings

Pixels = NDArray[np.uint8]


class Decoder:
    """Decodes images on several threads, but large ones one at a time.

    Once a batch has taken `decode_seconds`, the images that still wait are refused: TorchServe kills a worker that
    takes longer than responseTimeout, and fails every request of its batch. A batch thus takes no longer than that
    budget and the images then being decoded, of which one is large. The cheapest come first: a small image never
    waits for a large one.
    """

    def __init__(
        self, settings: Settings, spec: Preprocessing, threads: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._spec, self._clock = settings, spec, clock
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="decoder")
        self._large_one = Lock()

    def decode(self, requests: Iterable[Sequence[ImageInput]]) -> list[Pixels | RequestError]:
        """Decode the images of all requests of a batch: all are examined before the first is decoded.

        Returns one item for each image, in the order given: pixels (side, side, 3) or the error that refuses it.
        """
        deadline = self._clock() + self._settings.decode_seconds
        examined = [
            image
            for images in requests
            for image in memory.within_budget([self._examine(image) for image in images], self._settings)
        ]
        by_cost = sorted(range(len(examined)), key=lambda i: _cost(examined[i]))
        decoded = self._threads.map(partial(self._preprocess, deadline), (examined[i] for i in by_cost))
        pixels = dict(zip(by_cost, decoded, strict=True))
        return [pixels[i] for i in range(len(examined))]

    def _examine(self, image: ImageInput) -> Picture | Pixels | RequestError:
        if not isinstance(image, bytes | bytearray):
            return image  # ready pixels, or an error
        try:
            return examine(image, self._settings)
        except RequestError as error:
            return error

    def _preprocess(self, deadline: float, image: Picture | Pixels | RequestError) -> Pixels | RequestError:
        if not isinstance(image, Picture):
            return image
        try:
            with self._large_one if image.memory > memory.LARGE else nullcontext():
                if self._clock() >= deadline:
                    return ServiceUnavailable("The server is busy with large pictures: send this one again.")
                return preprocess(render(image, self._settings, self._spec.resize), self._spec)
        except RequestError as error:
            return error


def _cost(image: Picture | Pixels | RequestError) -> int:
    """Estimate how long an image takes: the time that decoders need grows with the memory they need."""
    return image.memory if isinstance(image, Picture) else 0
