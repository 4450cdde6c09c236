"""What the contenders are sent, and how the lists of them are read."""

from __future__ import annotations

import base64
import json
import os
from email import message_from_bytes
from pathlib import Path

import pytest

from benchmarks import lineup, material, peers, run, service
from benchmarks.measure import Tree
from densenet_serving.errors import CommandError


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "320x240.jpg"
    path.write_bytes(b"\xff\xd8 not really\r\n a photo \xff\xd9")
    return path


def test_a_raw_body_is_the_photo_itself(photo: Path) -> None:
    assert service.make_body("raw", "", photo, photo.parent) == (photo, {"Content-Type": "image/jpeg"})


def test_a_json_body_holds_base64(photo: Path) -> None:
    body, headers = service.make_body("json", "image_data", photo, photo.parent)
    assert headers == {"Content-Type": "application/json"}
    assert base64.b64decode(json.loads(body.read_text())["image_data"]) == photo.read_bytes()


def test_a_multipart_body_holds_one_named_file(photo: Path) -> None:
    body, headers = service.make_body("multipart", "file", photo, photo.parent)
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    (part,) = list(message_from_bytes(head + body.read_bytes()).walk())[1:]
    assert part.get_param("name", header="Content-Disposition") == "file"
    assert part.get_payload(decode=True) == photo.read_bytes()


def test_contenders_run_in_the_order_of_the_lineup() -> None:
    assert lineup.choose("ceiling, tutorial,ours") == ["ours", "tutorial", "ceiling"]
    assert lineup.choose("all") == list(lineup.NAMES)


def made_of(int8: material.Int8 | None) -> material.Material:
    return material.Material(Path(), {}, Path(), Path(), Path(), Path(), Path(), int8)


def test_what_quantizes_is_left_out_with_a_reason_without_nncf() -> None:
    made = made_of(None)
    results = run.start_run([], ["ours", *lineup.INT8], 1, 1, made, {})
    assert [outcome.failure for outcome in results.outcomes] == [None, run.NO_NNCF, run.NO_NNCF]


def test_int8_shows_its_agreement_beside_its_speed() -> None:
    made = made_of(material.Int8(Path(), Path(), 0.953))
    results = run.start_run([], list(lineup.INT8), 1, 1, made, {})
    assert [outcome.title for outcome in results.outcomes] == [
        "ours, int8 (95.3% of answers as in f32)",
        "ceiling: no server, int8 (95.3% of answers as in f32)",
    ]


def test_an_unknown_contender_is_refused_by_name() -> None:
    with pytest.raises(CommandError, match="no contender torchsreve: choose from ours"):
        lineup.choose("ours,torchsreve")


@pytest.mark.parametrize("size", ["720", "720x", "0x5", "axb"])
def test_a_size_that_is_none_is_refused(size: str) -> None:
    with pytest.raises(CommandError, match="is no size"):
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


def test_a_tree_knows_its_own_cost() -> None:
    tree = Tree(os.getpid())
    assert tree.cpu_seconds() > 0
    assert tree.memory() > 2**20
