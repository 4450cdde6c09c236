"""The heatmap: of a class, faded, kept, or not there."""

from __future__ import annotations

import io

from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.actions import CAT, choose, downloaded, expect_cat, heading
from tests.browser.support import Visit
from tests.browser.torchserve import IDS, FakeTorchServe


def overlay_opacity(page: Page) -> float:
    return float(page.locator("#heatmap .colors").evaluate("image => getComputedStyle(image).opacity"))


def test_the_slider_fades_the_heatmap(visit: Visit) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)
    assert overlay_opacity(visit.page) == 0.5

    visit.page.get_by_role("slider").fill("80")
    expect(visit.page.locator("#heatmap .colors")).to_have_css("opacity", "0.8")


def test_a_bar_shows_the_heatmap_of_its_class_whatever_the_alphabet_of_its_id(
    visit: Visit, torchserve: FakeTorchServe
) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    visit.page.locator("#bars button", has_text="lynx").click()

    expect(visit.page.locator("#heatmap")).to_contain_text("evidence for lynx")
    expect(visit.page.locator("#bars button[aria-pressed=true]")).to_contain_text("lynx")
    assert [asked["class_id"] for asked in torchserve.explained[-2:]] == [IDS[3]] * 2


def test_the_heatmap_can_be_kept_as_it_is_seen(visit: Visit) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)
    visit.page.get_by_role("slider").fill("0")

    with visit.page.expect_download() as waiting:
        visit.page.get_by_role("button", name="Download PNG").click()

    assert waiting.value.suggested_filename == "cat-heatmap.png"
    kept = Image.open(io.BytesIO(downloaded(waiting.value))).convert("RGB")
    with Image.open(CAT) as photo:
        as_sent = photo.convert("RGB").resize(kept.size)
    assert kept.size == (224, 224)
    assert kept.tobytes() == as_sent.tobytes()  # without color it is the photo


def test_an_archive_that_cannot_explain_answers_without_a_heatmap(visit: Visit, torchserve: FakeTorchServe) -> None:
    torchserve.explains = False
    choose(visit.page, CAT)

    expect(heading(visit.page)).to_have_text("Egyptian cat")
    expect(visit.page.locator("#why")).to_be_hidden()
    expect(visit.page.get_by_role("alert")).to_have_count(0)


def test_a_heatmap_that_is_on_its_way_cannot_be_saved_yet(visit: Visit) -> None:
    held: list[Route] = []
    visit.page.route("**/explain", lambda route: held.append(route))
    choose(visit.page, CAT)

    expect(visit.page.locator("#why")).to_contain_text("Looking for the evidence for Egyptian cat")
    expect(visit.page.get_by_role("button", name="Download PNG")).to_be_hidden()
    visit.screenshot("on-its-way")
    for route in held:
        route.continue_()
    expect_cat(visit.page)
    expect(visit.page.get_by_role("button", name="Download PNG")).to_be_visible()
