"""A model that tells red, green and blue apart, in no time: what surrounds it can be tested without a real one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from handler.engines import Engine, Outputs, no_features
from handler.explanations import HEAD_FILE
from handler.labels import LABELS_FILE
from tests.handler.test_card import CARD
from tests.pictures import encode

COLOURS = ("red", "green", "blue")
THREE_CLASSES = replace(CARD, classes=3)


class ColourEngine(Engine):
    """Tells red, green and blue pictures apart; records the batches it was given."""

    def __init__(self) -> None:
        self.description = {"engine": "fake"}
        self.shapes: list[tuple[int, ...]] = []

    def infer(self, batch: NDArray[np.uint8], *, features: bool = False) -> Outputs:
        self.shapes.append(batch.shape)
        return super().infer(batch, features=features)

    def _infer(self, batch: NDArray[np.uint8], *, features: bool) -> Outputs:
        """Its features are the picture's own channels, on a map of 8 x 8."""
        logits = np.asarray(batch.mean((1, 2)) / 25, np.float32)
        if not features:
            return logits, no_features(len(batch))
        side = batch.shape[1] // 8
        blocks = batch.reshape(len(batch), 8, side, 8, side, 3).mean((2, 4))
        return logits, np.asarray(blocks.transpose(0, 3, 1, 2), np.float32)


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
