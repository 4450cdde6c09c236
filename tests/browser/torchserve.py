"""A TorchServe for the page's tests, behind the real gateway: it answers at once, and can be stopped."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from email.message import Message
from functools import cache
from typing import Any

import httpx
import numpy as np
from PIL import Image, UnidentifiedImageError
from python_multipart.multipart import parse_options_header

from densenet_serving.gateway.torchserve.upstream import NOT_RUNNING
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
    multi_label: bool = False  # then the classes over 0.2 are listed
    explained: list[dict[str, str]] = field(default_factory=list)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if not self.running:
            raise httpx.ConnectError("refused")
        if request.method == "GET":
            return httpx.Response(200, json=READY)
        parameters, image = _request_of(request)
        try:
            picture = Image.open(io.BytesIO(image)).convert("RGB")
        except UnidentifiedImageError:
            error = {"code": 415, "type": "UnsupportedMediaTypeException", "message": NOT_AN_IMAGE}
            return httpx.Response(415, json=error)
        if "/explanations/" in request.url.path and self.explains:
            self.explained.append(parameters)
            index, overlay = IDS.index(parameters["class_id"]), float(parameters["overlay"])
            named = {"class_id": IDS[index], "class_name": NAMES[index], "probability": PROBABILITIES[index]}
            return httpx.Response(200, json=named | {"recognized": True, "overlay": _heatmap(image, index, overlay)})
        answer = _predict(picture, int(request.headers.get("top-k", 1)))
        if self.multi_label:
            answer["predictions"] = _predict(picture, 2)["predictions"] if answer["recognized"] else []
        return httpx.Response(200, json=answer)


@cache  # most tests ask for the heatmaps of the same cat
def _heatmap(image: bytes, index: int, overlay: float) -> str:
    """Return the photo itself, or a glow: at its left for the first class, further right for every other."""
    square = np.asarray(Image.open(io.BytesIO(image)).convert("RGB").resize((SIDE, SIDE)), np.float32)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    glow = np.exp(-((x - 0.3 - index / 8) ** 2 + (y - 0.45) ** 2) / 0.05)[..., None] * (255, 170, 40)
    mixed = Image.fromarray(((1 - overlay) * square + overlay * glow).astype(np.uint8))
    return base64.b64encode(pictures.encode(mixed, "PNG")).decode()


def _predict(picture: Image.Image, top_k: int) -> dict[str, Any]:
    colored = bool(np.ptp(np.asarray(picture), axis=2).max() > 8)
    probabilities = PROBABILITIES if colored else tuple(p / 5 for p in PROBABILITIES)
    candidates = [
        {"class_id": i, "class_name": n, "probability": p} for i, n, p in zip(IDS, NAMES, probabilities, strict=True)
    ]
    best = candidates[0] if colored else {"class_id": None, "class_name": None, "probability": probabilities[0]}
    listed = {"predictions": candidates[:top_k]} if top_k > 1 else {}
    return best | {"recognized": colored} | listed


def _request_of(request: httpx.Request) -> tuple[dict[str, str], bytes]:
    """Take a form apart into its fields and its file; any other body is the file."""
    content_type = request.headers["content-type"]
    if not content_type.startswith("multipart/"):
        return {}, request.content
    boundary = parse_options_header(content_type)[1][b"boundary"]
    fields = {}
    for part in request.content.split(b"--" + boundary)[1:-1]:
        head, _, content = part[2:-2].partition(b"\r\n\r\n")
        disposition = Message()
        disposition["content-disposition"] = head.decode().split("\r\n")[0].partition(": ")[2]
        fields[str(disposition.get_param("name", header="content-disposition"))] = content
    image = fields.pop("file")
    return {name: value.decode() for name, value in fields.items()}, image
