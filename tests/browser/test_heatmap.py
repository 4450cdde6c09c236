"""The heatmap: of a class, faded, kept, or not there."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from handler.explanations import paint
from tests.browser.actions import BARS, CAT, choose, downloaded, expect_cat, heading
from tests.browser.support import Visit
from tests.browser.torchserve import IDS, MAPS, FakeTorchServe
from tests.densenet_serving.gateway.conftest import CARD, MODEL


def test_a_bar_shows_the_heatmap_of_its_class_and_asks_for_nothing(visit: Visit, torchserve: FakeTorchServe) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    for i, name in reversed(list(enumerate(BARS))):
        visit.page.locator("#bars button").nth(i).click()
        expect(visit.page.locator("#heatmap strong")).to_have_text(name)  # what a class is called is text alone
        expect(visit.page.locator("#bars button[aria-pressed=true]")).to_contain_text(name)
    expect(visit.page.locator("img[src=x]")).to_have_count(0)
    assert torchserve.asked == [f"/explanations/{MODEL}"]
    assert torchserve.overlays == [0]  # the page paints the colors itself
    assert [sent for sent in visit.sent if sent != "GET /model"] == ["POST /explain"]


@pytest.mark.parametrize("overlay", [0, 0.5, 1])
def test_the_heatmap_can_be_kept_as_it_is_seen_and_as_the_server_paints_it(visit: Visit, overlay: float) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)
    visit.page.locator("#bars button").nth(2).click()
    visit.page.get_by_role("slider").fill(f"{100 * overlay:g}")

    with visit.page.expect_download() as waiting:
        visit.page.get_by_role("button", name="Download PNG").click()

    assert waiting.value.suggested_filename == "cat-heatmap.png"
    kept = Image.open(io.BytesIO(downloaded(waiting.value))).convert("RGB")
    activation = np.asarray(MAPS[IDS[2]], np.float32)
    with Image.open(CAT) as photo:
        seen = np.asarray(photo.convert("RGB").resize((224, 224)))
    expected = Image.open(io.BytesIO(paint(seen, activation, overlay)))
    assert kept.size == expected.size
    np.testing.assert_allclose(np.asarray(kept, np.float32), np.asarray(expected), atol=2)


@pytest.mark.parametrize(
    ("missing", "asked"),
    [("explains", ["explanations"]), ("maps", ["explanations", "predictions"]), ("", ["predictions"])],
)
def test_without_heatmaps_the_answer_alone_is_shown(
    visit: Visit, torchserve: FakeTorchServe, missing: str, asked: list[str]
) -> None:
    """Those of an older archive, which says nothing, and of a model that says so, which is not asked for them."""
    if missing:
        setattr(torchserve, missing, False)
    else:
        visit.page.route("**/model", lambda route: route.fulfill(json=CARD | {"heatmaps": False, "api_key": False}))
        visit.page.reload()
    choose(visit.page, CAT)

    expect(heading(visit.page)).to_have_text("Egyptian cat")
    expect(visit.page.locator("#bars button")).to_have_count(5)
    expect(visit.page.locator("#why")).to_be_hidden()
    expect(visit.page.get_by_role("alert")).to_have_count(0)
    assert torchserve.asked == [f"/{verb}/{MODEL}" for verb in asked]
