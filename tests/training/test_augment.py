from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.pictures import photo
from training.augment import Boxes, change_colours, choose_boxes, crop, mix, view
from training.photos import Photos, lay

SIDE, LONGEST = 48, 64
LENGTHS = (48.0, 55.0, 64.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stored(count: int = 60, padding: int = 0, photo_value: int = 200) -> Photos:
    """Plain photos of three lengths, every second one lying, padded with another value."""
    lengths = torch.tensor([LENGTHS[row % 3] for row in range(count)])
    pixels = torch.full((count, 3, SIDE, LONGEST), padding, dtype=torch.uint8)
    for row, length in enumerate(lengths.int().tolist()):
        pixels[row, :, :, :length] = photo_value
    return Photos(pixels, lengths, torch.arange(count) % 2 == 1, tuple(map(str, range(count))))


def boxes(left: float, top: float, width: float, height: float, mirrored: bool) -> Boxes:
    values = [torch.tensor([value]) for value in (left, top, width, height)]
    return Boxes(values[0], values[1], values[2], values[3], torch.tensor([mirrored]))


def test_crops_lie_in_the_photo_and_have_the_areas_and_ratios_asked_for() -> None:
    count = 3000
    lengths = torch.tensor([LENGTHS[row % 3] for row in range(count)])
    lying = torch.arange(count) % 2 == 1
    chosen = choose_boxes(lengths, SIDE, lying, generator())
    assert (chosen.left >= 0).all()
    assert (chosen.left + chosen.width <= lengths + 1e-4).all()
    assert (chosen.top >= 0).all()
    assert (chosen.top + chosen.height <= SIDE + 1e-4).all()
    share = chosen.width * chosen.height / (lengths * SIDE)
    assert 0.079 < share.min() < 0.1
    assert share.max() > 0.9
    inside = (chosen.width < lengths) & (chosen.height < SIDE)
    ratio = (chosen.width / chosen.height)[inside]
    assert 0.749 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.334
    assert 0.45 < chosen.mirrored.float().mean() < 0.55


def test_a_crop_takes_nothing_from_the_padding() -> None:
    photos = stored(600)
    chosen = choose_boxes(photos.lengths, SIDE, photos.lying, generator())
    views = crop(photos.pixels, chosen, photos.lying, 32)
    torch.testing.assert_close(views, torch.full_like(views, 200 / 255))


def test_the_whole_photo_at_its_own_size_comes_out_as_it_is() -> None:
    pixels = torch.randint(0, 256, (1, 3, SIDE, LONGEST), generator=generator(), dtype=torch.uint8)
    upright = torch.tensor([False])
    # Every pixel of a view of half the side is the mean of 2 x 2 of the photo's.
    views = crop(pixels[:, :, :, :SIDE], boxes(0, 0, SIDE, SIDE, False), upright, SIDE // 2)
    expected = torch.nn.functional.avg_pool2d(pixels[:, :, :, :SIDE].float() / 255, 2)
    torch.testing.assert_close(views, expected)
    mirrored = crop(pixels[:, :, :, :SIDE], boxes(0, 0, SIDE, SIDE, True), upright, SIDE // 2)
    torch.testing.assert_close(mirrored, expected.flip(3))


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_lying_photo_gives_the_view_of_the_upright_one(mirrored: bool) -> None:
    picture = torch.randint(0, 256, (1, 3, SIDE, SIDE), generator=generator(), dtype=torch.uint8)
    upright = crop(picture, boxes(3, 11, 30, 20, mirrored), torch.tensor([False]), 24)
    lying = crop(picture.transpose(2, 3), boxes(11, 3, 20, 30, mirrored), torch.tensor([True]), 24)
    torch.testing.assert_close(lying, upright)


def test_a_crop_is_as_smooth_as_pillows() -> None:
    """A real photo at 0.6 of its size: the mean difference is a few grey levels, where aliasing makes it many."""
    pixels, _ = lay(photo("chelsea"), 200, 267)
    square = np.ascontiguousarray(pixels[:, :200])
    expected = np.asarray(Image.fromarray(square).resize((120, 120), Image.Resampling.BILINEAR)) / 255
    views = crop(
        torch.from_numpy(square).permute(2, 0, 1)[None], boxes(0, 0, 200, 200, False), torch.tensor([False]), 120
    )
    assert np.abs(views[0].permute(1, 2, 0).numpy() - expected).mean() < 2 / 255


def test_views_are_in_range_and_follow_from_the_seed() -> None:
    photos = stored()
    indices = torch.arange(40)

    def make(seed: int) -> Tensor:
        return view(photos, indices, 32, generator(seed))

    views = make(1)
    assert views.shape == (40, 3, 32, 32)
    assert views.dtype == torch.float32
    assert views.min() >= 0
    assert views.max() <= 1
    assert torch.equal(views, make(1))
    assert not torch.equal(views, make(2))


def test_colours_change_each_view_by_factors_of_its_own() -> None:
    grey = torch.full((20, 3, 4, 4), 0.5)
    changed = change_colours(grey, generator())
    values = changed[:, 0, 0, 0]
    assert 0.3 <= values.min() < 0.4
    assert 0.6 < values.max() <= 0.7
    torch.testing.assert_close(changed, values.view(-1, 1, 1, 1).expand_as(changed))  # grey stays grey


def test_a_third_is_blended_a_third_pasted_and_the_rest_left_alone() -> None:
    views = (torch.arange(999) % 2).float().view(-1, 1, 1, 1).expand(999, 3, 8, 8)
    mixed = mix(views, generator())
    flat = (mixed == mixed[:, :1, :1, :1]).flatten(1).all(dim=1)
    same = (mixed == views).flatten(1).all(dim=1)
    blended = (flat & ~same & (mixed[:, 0, 0, 0] % 1 != 0)).float().mean()
    pasted = (~flat & ((mixed == 0) | (mixed == 1)).flatten(1).all(dim=1)).float().mean()
    assert 0.28 < blended < 0.38
    assert 0.25 < pasted < 0.38  # a part too small for a pixel, or as large as the view, is not seen
