from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image

from tests import pictures
from tests.web.fake_upstream import FakeUpstream
from web import events
from web.upstream import Answer, Upstream

TOO_MANY = {"code": 400, "type": "BadRequestException", "message": "top_k must be from 1 to 2."}


class TwoClasses(FakeUpstream):
    async def predict(self, image: bytes, parameters: Mapping[str, Any]) -> Answer:
        answer = await super().predict(image, parameters)
        if parameters["top_k"] > 2:
            return Answer(400, TOO_MANY)
        return Answer(200, answer.content | {"predictions": answer.content["predictions"][:2]})


class WithoutExplanations(FakeUpstream):
    """An archive built before explanations were: it answers them with a prediction."""

    async def explain(self, image: bytes, parameters: Mapping[str, Any]) -> Answer:
        return await self.predict(image, parameters)


def events_of(upstream: FakeUpstream) -> events.Events:
    return events.Events(cast(Upstream, upstream))


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    path = tmp_path / "cat.jpg"
    path.write_bytes(pictures.encode(pictures.photo("chelsea")))
    return path


def test_without_explanations_the_answer_stands_alone(cat: Path) -> None:
    heading, bars, why, heatmap, _ = asyncio.run(events_of(WithoutExplanations()).classify({"path": str(cat)}))

    assert "Egyptian cat" in heading
    assert bars.visible
    assert not why.visible
    assert heatmap == ""


def test_the_layers_of_a_heatmap_are_the_photo_and_the_colours_of_one_class(cat: Path) -> None:
    upstream = FakeUpstream()

    asyncio.run(events_of(upstream).classify({"path": str(cat)}))

    assert upstream.explained == [{"class_id": "n02124075", "overlay": 0}, {"class_id": "n02124075", "overlay": 1}]


def test_thumbnails_stand_upright_and_are_small(tmp_path: Path) -> None:
    lying = pictures.noise(1200, 800)
    exif = lying.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    path = tmp_path / "lying.jpg"
    path.write_bytes(pictures.encode(lying, exif=exif))

    _, gallery, files = asyncio.run(events_of(FakeUpstream()).classify_all([str(path)]))

    [labelled] = gallery.value
    with Image.open(labelled["image"]["path"]) as thumbnail:
        assert thumbnail.width < thumbnail.height <= events.THUMBNAIL_SIDE
    assert files == [str(path)]


def test_a_model_of_two_classes_has_two_bars(cat: Path) -> None:
    _, bars, *_ = asyncio.run(events_of(TwoClasses()).classify({"path": str(cat)}))

    assert len(bars.value["confidences"]) == 2


def test_a_photo_sent_twice_is_answered_twice(cat: Path) -> None:
    _, gallery, files = asyncio.run(events_of(FakeUpstream()).classify_all([str(cat), str(cat)]))

    assert [labelled["caption"] for labelled in gallery.value] == ["Egyptian cat, 61%"] * 2
    assert files == [str(cat)] * 2
