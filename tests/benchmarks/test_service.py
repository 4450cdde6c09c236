"""What the contenders are sent, and how the lists of them are read."""

from __future__ import annotations

import base64
import json
from email import message_from_bytes
from pathlib import Path

import pytest

from benchmarks import lineup, material, peers, run, service
from densenet_serving.errors import CommandError


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "320x240.jpg"
    path.write_bytes(b"\xff\xd8 not really\r\n a photo \xff\xd9")
    return path


def test_bodies_hold_the_photo(photo: Path) -> None:
    assert service.make_body("raw", "", photo, photo.parent) == (photo, {"Content-Type": "image/jpeg"})
    body, headers = service.make_body("json", "image_data", photo, photo.parent)
    assert headers == {"Content-Type": "application/json"}
    assert base64.b64decode(json.loads(body.read_text())["image_data"]) == photo.read_bytes()
    body, headers = service.make_body("multipart", "file", photo, photo.parent)
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    (part,) = list(message_from_bytes(head + body.read_bytes()).walk())[1:]
    assert part.get_param("name", header="Content-Disposition") == "file"
    assert part.get_payload(decode=True) == photo.read_bytes()


def test_contenders_run_in_the_order_of_the_lineup() -> None:
    assert lineup.choose("ceiling, tutorial,ours") == ["ours", "tutorial", "ceiling"]
    assert lineup.choose("all") == list(lineup.NAMES)


@pytest.mark.parametrize(
    ("int8", "failure", "title"),
    [(None, run.NO_NNCF, "int8"), (material.Int8(Path(), Path(), 0.953), None, "int8 (95.3% of answers as in f32)")],
)
def test_int8_shows_its_agreement_or_why_it_is_missing(
    int8: material.Int8 | None, failure: str | None, title: str
) -> None:
    made = material.Material(Path(), {}, Path(), Path(), Path(), Path(), Path(), int8)
    ours, *quantized = run.start_run([], ["ours", *lineup.INT8], 1, 1, made, {}).outcomes
    assert ours.failure is None
    assert [outcome.failure for outcome in quantized] == [failure] * 2
    assert all(title in outcome.title for outcome in quantized)


def test_what_cannot_be_chosen_is_named() -> None:
    with pytest.raises(CommandError, match="torchsreve"):
        lineup.choose("ours,torchsreve")
    for size in ("720", "720x", "0x5", "axb"):
        with pytest.raises(CommandError, match=size):
            material.parse_size(size)


def test_every_contender_has_its_package_pinned() -> None:
    pinned = peers.read_requirements(peers.REQUIREMENTS.read_text())
    assert {contender.package for contender in lineup.LINEUP if contender.package} <= set(pinned)
    assert all("==" in requirement for requirement in pinned.values())


def test_a_package_that_cannot_be_installed_is_the_reason() -> None:
    failures = {"ray": "ERROR: No matching distribution"}
    assert peers.reason_missing("ray", failures) == "ray cannot be installed: ERROR: No matching distribution"
    assert peers.reason_missing("mosec", failures) is None
    assert peers.reason_missing(None, {"torch": "ERROR"}) is None
