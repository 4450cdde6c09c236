"""What happens when something is done on the page; every answer is TorchServe's."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image, ImageOps

from handler.images import FORMATS
from web import wording
from web.upstream import Answer, Upstream

TOP_K = 5
FEWEST_CLASSES = 2
AT_ONCE = 8  # photos out of lists that are in memory together
THUMBNAIL_SIDE = 480


class Events:
    """The page's answers, in the order of the components that show them."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._at_once = asyncio.Semaphore(AT_ONCE)

    async def classify(self, file: dict[str, Any] | None) -> list[Any]:
        """Answer one photo: heading, bars, the heatmap's panel and the heatmap, and what is behind the bars.

        `file` is Gradio's FileData. What the file holds is TorchServe's to say.
        """
        if file is None:
            return _answer(wording.NOTHING_YET)
        photo = Path(file["path"]).read_bytes()
        answer = await self._upstream.predict(photo, {"top_k": TOP_K})
        if answer.status == HTTPStatus.BAD_REQUEST:  # the model has fewer classes, or the photo is refused again
            answer = await self._upstream.predict(photo, {"top_k": FEWEST_CLASSES})
        if not answer.ok:
            return _answer(wording.problem(answer.content))
        bars = wording.bars(answer.content["predictions"])
        best = answer.content["predictions"][0]
        return _answer(wording.heading(answer.content), bars, await self._heatmap(photo, best))

    async def explain(self, file: dict[str, Any], bars: dict[str, wording.Prediction], chosen: gr.SelectData) -> str:
        """Paint the heatmap of the class whose bar was chosen."""
        return await self._heatmap(Path(file["path"]).read_bytes(), bars[chosen.value])

    async def classify_all(self, files: list[str] | None) -> tuple[str, gr.Gallery, list[str]]:
        """Answer several photos: what is wrong with some, the others with a label each, and their files."""
        answers = await asyncio.gather(*(self._label(file) for file in files or []))
        answered = list(zip(files or [], answers, strict=True))
        problems = [wording.problem(answer.content, Path(file).name) for file, answer in answered if not answer.ok]
        good = [file for file, answer in answered if answer.ok]
        captions = [wording.caption(answer.content) for _, answer in answered if answer.ok]
        thumbnails = await asyncio.to_thread(lambda: [_thumbnail(file) for file in good])
        labelled = list(zip(thumbnails, captions, strict=True))
        return "".join(problems), gr.Gallery(labelled, visible=bool(good)), good

    async def _label(self, file: str) -> Answer:
        async with self._at_once:
            return await self._upstream.predict(Path(file).read_bytes(), {})

    async def _heatmap(self, photo: bytes, prediction: wording.Prediction) -> str:
        """The colours over the photo, or nothing where the served archive was built before it could explain."""
        layers: list[Answer] = await asyncio.gather(
            *(
                self._upstream.explain(photo, {"class_id": prediction["class_id"], "overlay": overlay})
                for overlay in (0, 1)
            )
        )
        for layer in layers:
            if not layer.ok:
                return wording.problem(layer.content)
            if "overlay" not in layer.content:
                return ""
        plain, colours = (layer.content["overlay"] for layer in layers)
        return wording.heatmap(plain, colours, prediction["class_name"])


def _answer(heading: str, bars: dict[str, wording.Prediction] | None = None, heatmap: str = "") -> list[Any]:
    """Lay an answer out over heading, bars, panel, heatmap and state; what has nothing to show is hidden."""
    probabilities = {label: prediction["probability"] for label, prediction in (bars or {}).items()}
    return [
        heading,
        gr.Label(probabilities or None, visible=bool(bars)),
        gr.Group(visible=bool(heatmap)),
        heatmap,
        bars or {},
    ]


def _thumbnail(file: str) -> Image.Image:
    with Image.open(file, formats=FORMATS) as image:
        image.draft("RGB", (THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return ImageOps.exif_transpose(image).convert("RGB")
