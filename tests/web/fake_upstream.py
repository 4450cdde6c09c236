"""A TorchServe for the page's tests: it answers in its words, at once, and can be stopped."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from fastapi import FastAPI
from PIL import Image, UnidentifiedImageError

from tests import pictures
from web import page
from web.upstream import Answer, Upstream

SIDE = 224
NAMES = ("Egyptian_cat", "tiger_cat", "tabby", "lynx", "Persian_cat")
IDS = ("n02124075", "n02123159", "n02123045", "n02127052", "n02123394")
PROBABILITIES = (0.61, 0.22, 0.1, 0.03, 0.01)
NOT_AN_IMAGE = "This is not an image of an accepted format: send JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF."
STOPPED = "TorchServe does not answer: try again in a while, or start it with densenet web."


class FakeUpstream:
    """Every photo in colour is a cat; a grey one is not recognized."""

    def __init__(self) -> None:
        self.running = True
        self.explained: list[Mapping[str, Any]] = []

    async def predict(self, image: bytes, parameters: Mapping[str, Any]) -> Answer:
        if isinstance(picture := self._open(image), Answer):
            return picture
        coloured = bool(np.ptp(np.asarray(picture), axis=2).max() > 8)
        probabilities = PROBABILITIES if coloured else tuple(p / 5 for p in PROBABILITIES)
        return Answer(
            200,
            {
                "class_id": IDS[0] if coloured else None,
                "class_name": NAMES[0] if coloured else None,
                "probability": probabilities[0],
                "recognized": coloured,
                "predictions": [
                    {"class_id": i, "class_name": n, "probability": p}
                    for i, n, p in zip(IDS, NAMES, probabilities, strict=True)
                ],
            },
        )

    async def explain(self, image: bytes, parameters: Mapping[str, Any]) -> Answer:
        """Answer the photo itself, or a glow: at its left for the first class, further right for every other."""
        if isinstance(picture := self._open(image), Answer):
            return picture
        self.explained.append(dict(parameters))
        square = np.asarray(picture.resize((SIDE, SIDE)), np.float32)
        index = IDS.index(parameters["class_id"])
        y, x = np.mgrid[:SIDE, :SIDE] / SIDE
        glow = np.exp(-((x - 0.3 - index / 8) ** 2 + (y - 0.45) ** 2) / 0.05)[..., None] * (255, 170, 40)
        mixed = (1 - parameters["overlay"]) * square + parameters["overlay"] * glow
        overlay = base64.b64encode(pictures.encode(Image.fromarray(mixed.astype(np.uint8)), "PNG")).decode()
        return Answer(200, {"class_id": IDS[index], "class_name": NAMES[index], "overlay": overlay})

    def _open(self, image: bytes) -> Image.Image | Answer:
        if not self.running:
            return _refusal(503, "ServiceUnavailableException", STOPPED)
        try:
            return Image.open(io.BytesIO(image)).convert("RGB")
        except UnidentifiedImageError:
            return _refusal(415, "UnsupportedMediaTypeException", NOT_AN_IMAGE)


def _refusal(status: int, kind: str, message: str) -> Answer:
    return Answer(status, {"code": status, "type": kind, "message": message})


def application(upstream: FakeUpstream) -> FastAPI:
    """The page of an upstream. Where no event loop runs, Gradio makes one for each of its locks and closes none."""

    async def mount() -> FastAPI:
        return page.mount(FastAPI(), cast(Upstream, upstream))

    return asyncio.run(mount())
