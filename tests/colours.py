"""A model that tells red, green and blue apart, in no time: what surrounds it can be tested without a real one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.explanations import HEAD_FILE
from handler.labels import LABELS_FILE
from tests.handler.test_card import CARD
from tests.pictures import encode

COLOURS = ("red", "green", "blue")
THREE_CLASSES = replace(CARD, classes=3)


class ColourEngine:
    """Tells red, green and blue pictures apart; records the batches it was given."""

    description: dict[str, str | int] = {"engine": "fake"}  # noqa: RUF012 - the protocol's own form

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.shapes.append(batch.shape)
        return np.asarray(batch.mean((1, 2)) / 25, np.float32)

    def explain(self, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Its features are the picture's own channels, on a map of 8 x 8."""
        side = batch.shape[1] // 8
        blocks = batch.reshape(len(batch), 8, side, 8, side, 3).mean((2, 4))
        return self(batch), np.asarray(blocks.transpose(0, 3, 1, 2), np.float32)


def picture(colour: str) -> bytes:
    return encode(Image.new("RGB", (30, 20), {"green": "lime"}.get(colour, colour)), "PNG")


RED, GREEN, BLUE = map(picture, COLOURS)
BAD = RED[:60]


def write_folder(folder: Path) -> Path:
    """Lay out what the handler reads of an unpacked archive."""
    THREE_CLASSES.write(folder)
    labels = {str(i): [f"n{i}", name] for i, name in enumerate(COLOURS)}
    (folder / LABELS_FILE).write_text(json.dumps(labels))
    np.save(folder / HEAD_FILE, np.eye(3, dtype=np.float32))
    return folder
