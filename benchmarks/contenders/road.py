"""Our own decoding, preprocessing and engine, for a contender to call: what the archive's handler does, without it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handler.card import ModelCard
from handler.cores import Threads, available_cores
from handler.engines import load_engine
from handler.images import pixels_of
from handler.labels import LABELS_FILE, Labels
from handler.settings import Settings


class Road:
    def __init__(self, archive: Path, threads: Threads) -> None:
        self.settings = Settings()
        self.card = ModelCard.read(archive)
        self.labels = Labels.read(archive / LABELS_FILE)
        self.engine = load_engine(archive, self.settings, threads, None)

    @classmethod
    def from_environment(cls) -> Road:
        """Load the unpacked archive that ARCHIVE names: THREADS threads for a batch, all cores for one alone."""
        threads = Threads(batch=int(os.environ["THREADS"]), alone=available_cores())
        return cls(Path(os.environ["ARCHIVE"]), threads)

    def pixels(self, data: bytes) -> NDArray[np.uint8]:
        """Encoded photo to the uint8 pixels (side, side, 3) the engine takes."""
        return pixels_of(data, self.card.preprocessing, self.settings)

    def classify(self, batch: list[NDArray[np.uint8]]) -> list[str]:
        return [self.labels[int(best)][1] for best in self.engine.infer(np.stack(batch))[0].argmax(axis=1)]
