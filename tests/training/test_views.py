from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.pictures import encode, noise
from training import views
from training.photos import SIDE, load


def test_views_are_the_same_for_the_same_seed(folder: Path, cache: Path) -> None:
    photos = load([folder], cache)
    first, again, other = (views.batch(photos, range(6), 32, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (6, 3, 32, 32)
    assert first.dtype == torch.float32
    assert 0 <= float(first.min()) < float(first.max()) <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_portrait_is_seen_upright(tmp_path: Path) -> None:
    rows = np.zeros((240, SIDE, 3), np.uint8)
    rows[120:] = 200  # bright below, dark above
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a.png", "b.png"):
        (source / name).write_bytes(encode(Image.fromarray(rows), "PNG"))
    photos = load([source], tmp_path / "cache")
    rng = np.random.default_rng(0)
    seen = np.mean([views.crop(photos, 0, 32, rng) for _ in range(20)], axis=(0, 3))
    assert seen[-1].min() > 150 > 50 > seen[0].max()


def test_colors_change_as_in_three_steps() -> None:
    pixels = torch.from_numpy(np.asarray(noise(8, 8), np.float32) * 0.2 + 100).permute(2, 0, 1)[None]
    changed = views.change_colors(pixels, np.random.default_rng(3))[0]
    rng = np.random.default_rng(3)
    brightness, contrast, saturation = (
        float(rng.uniform(1 - by, 1 + by, (1, 1, 1))[0, 0, 0])
        for by in (views.BRIGHTNESS, views.CONTRAST, views.SATURATION)
    )
    luma = torch.tensor(views.LUMA).float().view(3, 1, 1)
    expected = pixels[0] / 255 * brightness
    mean = (expected * luma).sum(0).mean()
    expected = mean + (expected - mean) * contrast
    gray = (expected * luma).sum(0)
    torch.testing.assert_close(changed, gray + (expected - gray) * saturation, rtol=1e-4, atol=1e-5)


def test_a_share_of_the_views_is_mixed_with_their_neighbor() -> None:
    plain = torch.arange(400.0).view(400, 1, 1, 1).expand(400, 3, 8, 8) / 400
    mixed = views.mix(plain, np.random.default_rng(0))
    changed = (mixed != plain).flatten(1).any(1)
    pasted = torch.tensor([len(set(one.flatten().tolist())) == 2 for one in mixed])
    assert float(changed.float().mean()) == pytest.approx(2 * views.MIXED, abs=0.05)
    assert float(pasted.float().mean()) == pytest.approx(views.MIXED, abs=0.05)
    assert float((mixed - plain)[1:].abs().max()) <= 1 / 400 + 1e-6
