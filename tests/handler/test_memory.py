"""What the pictures of a request, and a worker as a whole, may take."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from PIL import Image

from handler.errors import BadRequest, PayloadTooLarge
from handler.formats.picture import Picture
from handler.images import examine
from handler.memory import within_budget
from handler.settings import Settings
from scripts import paths
from tests.pictures import encode, noise

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="Only Linux limits a process's private memory.")


def picture(width: int, height: int) -> Picture:
    return examine(encode(noise(width, height), "PNG"), Settings())


def test_the_pictures_of_a_request_share_a_budget_of_pixels() -> None:
    error = BadRequest("no picture: send one.")
    images = [picture(10, 10), error, picture(10, 11), picture(10, 10), b"pixels", picture(1, 1)]
    admitted = within_budget(images, Settings(max_request_pixels=201))
    assert admitted[:2] == images[:2]
    assert type(admitted[2]) is PayloadTooLarge
    assert str(admitted[2]) == (
        "The request has more than 201 pixels with this image of 10 x 11: send it in another request."
    )
    assert admitted[3:] == images[3:]


def test_one_more_pixel_is_too_many() -> None:
    admitted = within_budget([picture(10, 10), picture(10, 10), picture(1, 1)], Settings(max_request_pixels=200))
    assert [type(image) for image in admitted] == [Picture, Picture, PayloadTooLarge]


# How far this process may grow, a picture of 25 megapixels and a small one.
LIMITED = """
import json, sys
from pathlib import Path
from handler.errors import RequestError
from handler.images import decode
from handler.memory import limit_growth
from handler.settings import Settings

large, small = (Path(name).read_bytes() for name in sys.argv[2:])
decode(small, Settings(), 255)
limit_growth(int(sys.argv[1]))
for data in (large, small, large):
    try:
        print(json.dumps(decode(data, Settings(), 255).size))
    except RequestError as error:
        print(json.dumps([int(error.status), str(error)]))
"""
NONE_LEFT = [413, "The server has no memory left for 5,000 x 5,000 pixels: send a smaller picture."]


@pytest.fixture(scope="module")
def large_and_small(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    for side in (5000, 50):
        Image.new("RGBA", (side, side), (1, 2, 3, 77)).save(folder / f"{side}.png", compress_level=1)
    return [str(folder / "5000.png"), str(folder / "50.png")]


@LINUX
@pytest.mark.parametrize(
    ("headroom", "outcome"),
    [(50_000_000, NONE_LEFT), (150_000_000, NONE_LEFT), (400_000_000, [5000, 5000]), (0, [5000, 5000])],
)
def test_where_memory_ends_an_image_is_refused_and_the_next_is_decoded(
    large_and_small: list[str], headroom: int, outcome: list[object]
) -> None:
    command = [sys.executable, "-c", LIMITED, str(headroom), *large_and_small]
    done = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [outcome, [50, 50], outcome]


# Large blocks, with a small one above each that stays: bytes that the process holds afterwards.
FRAGMENTED = """
import sys
from handler.memory import STATUS, give_back_large_blocks

def held() -> int:
    return next(int(line.split()[1]) * 1024 for line in STATUS.read_text().splitlines() if line.startswith("VmData"))

if sys.argv[1] == "True":
    give_back_large_blocks()
before, small = held(), []
for megabytes in (28, 24, 20, 16):
    large = bytearray(megabytes << 20)
    small += [bytes(600) for _ in range(1000)]
    del large
print(held() - before)
"""


@LINUX
@pytest.mark.parametrize("give_back", [True, False])
def test_a_large_body_leaves_the_worker_as_it_was(give_back: bool) -> None:
    command = [sys.executable, "-c", FRAGMENTED, str(give_back)]
    done = subprocess.run(command, cwd=paths.HOME, capture_output=True, text=True, check=True)
    grown = int(done.stdout)
    assert grown < 10_000_000 if give_back else grown > 10_000_000
