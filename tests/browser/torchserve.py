"""A TorchServe for the page's tests, behind the real gateway: it answers at once, and can be stopped."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx
import numpy as np
from PIL import Image, UnidentifiedImageError

from densenet_serving.gateway.upstream import NOT_RUNNING
from tests import pictures
from tests.densenet_serving.gateway.conftest import MODEL

SIDE = 224
NAMES = ("Egyptian_cat", "crane", "crane", "lynx", "<img src=x onerror=alert(1)>")
IDS = ("n02124075", "n02012849", "n03126707", "Lüchse-猫", "n02123394")
PROBABILITIES = (0.61, 0.22, 0.1, 0.03, 0.001)
NOT_AN_IMAGE = "This is not an image of an accepted format: send JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC."
STOPPED = NOT_RUNNING
ACCURACY = {"top1": 0.7443, "top5": 0.9197, "evaluated_on": "ImageNet"}
CARD = {
    "name": MODEL,
    "version": "1.0",
    "architecture": "DenseNet-121",
    "classes": 1000,
    "weights": {"source": "file cats.pth", "sha256": "ab" * 32, "license": "BSD-3-Clause", "accuracy": ACCURACY},
    "preprocessing": {"resize": 255},
    "running": {"engine": "openvino", "precision": "bf16", "device": "cpu", "threads": 1},
}
READY = [{"modelName": MODEL, "modelVersion": "1.0", "workers": [{"status": "READY"}], "customizedMetadata": CARD}]


@dataclass
class FakeTorchServe:
    """Every photo in color is a cat; a gray one is not recognized. An old archive cannot explain."""

    running: bool = True
    explains: bool = True
    maps: bool = True  # without them, an explanation lists no classes either
    multi_label: bool = False  # then the classes over 0.2 are listed
    asked: list[str] = field(default_factory=list)  # the addresses to which photos were sent
    overlays: list[float] = field(default_factory=list)  # the shares of the colors that were asked for

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if not self.running:
            raise httpx.ConnectError("refused")
        if request.method == "GET":
            return httpx.Response(200, json=READY)
        self.asked.append(request.url.path)
        try:
            picture = Image.open(io.BytesIO(request.content)).convert("RGB")
        except UnidentifiedImageError:
            error = {"code": 415, "type": "UnsupportedMediaTypeException", "message": NOT_AN_IMAGE}
            return httpx.Response(415, json=error)
        answer = _predict(picture, int(request.headers.get("top-k", 1)))
        if self.multi_label:
            answer["predictions"] = _predict(picture, 2)["predictions"] if answer["recognized"] else []
        if "/explanations/" in request.url.path and self.explains:
            self.overlays.append(float(request.headers.get("overlay", 0.5)))
            answer |= {"class_id": IDS[0], "class_name": NAMES[0], "overlay": _seen(request.content), "maps": MAPS}
            if not self.maps:
                del answer["maps"], answer["predictions"]
        return httpx.Response(200, json=answer)


def _glow(index: int) -> list[list[float]]:
    """Where a class is seen: at the left for the first one, further right for every other."""
    y, x = (np.mgrid[:7, :7] + 0.5) / 7
    rows: list[list[float]] = np.exp(-((x - 0.3 - index / 8) ** 2 + (y - 0.45) ** 2) / 0.05).round(3).tolist()
    return rows


MAPS = {class_id: _glow(index) for index, class_id in enumerate(IDS)}


@cache  # most tests ask for the same cat
def _seen(image: bytes) -> str:
    square = Image.open(io.BytesIO(image)).convert("RGB").resize((SIDE, SIDE))
    return base64.b64encode(pictures.encode(square, "PNG")).decode()


def _predict(picture: Image.Image, top_k: int) -> dict[str, Any]:
    colored = bool(np.ptp(np.asarray(picture), axis=2).max() > 8)
    probabilities = PROBABILITIES if colored else tuple(p / 5 for p in PROBABILITIES)
    candidates = [
        {"class_id": i, "class_name": n, "probability": p} for i, n, p in zip(IDS, NAMES, probabilities, strict=True)
    ]
    best = candidates[0] if colored else {"class_id": None, "class_name": None, "probability": probabilities[0]}
    listed = {"predictions": candidates[:top_k]} if top_k > 1 else {}
    return best | {"recognized": colored} | listed
