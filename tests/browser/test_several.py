"""Several photos at once: labels, progress, the table."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.browser.actions import CAT, CLOCK, choose, downloaded, expect_cat, heading
from tests.browser.support import DESKTOP, WIDER_PHONE, Visit
from tests.browser.torchserve import NOT_AN_IMAGE, FakeTorchServe
from tests.densenet_serving.gateway.conftest import CARD, MODEL
from tests.waiting import until


def downloaded_table(visit: Visit) -> list[dict[str, str]]:
    with visit.page.expect_download() as waiting:
        visit.page.get_by_role("button", name="Download CSV").click()
    assert waiting.value.suggested_filename == "photos.csv"
    return list(csv.DictReader(io.StringIO(downloaded(waiting.value).decode())))


def test_several_photos_get_a_label_each_and_a_table(visit: Visit, torchserve: FakeTorchServe, notes: Path) -> None:
    choose(visit.page, CAT, CLOCK, notes)

    expect(visit.page.locator("#several h2")).to_have_text("3 photos")
    expect(visit.page.locator("#gallery .caption")).to_have_text(["Egyptian cat, 61%", "Not sure"])
    expect(visit.page.get_by_role("alert")).to_have_text(f"notes.txt: {NOT_AN_IMAGE}")
    visit.screenshot("gallery")

    table = downloaded_table(visit)
    assert [row["file"] for row in table] == ["cat.jpg", "clock.jpg", "notes.txt"]
    assert [row["class_name"] for row in table] == ["Egyptian_cat", "", ""]
    assert [row["recognized"] for row in table] == ["true", "false", ""]
    assert (table[0]["probability"], table[2]["error"]) == ("0.61", NOT_AN_IMAGE)

    assert torchserve.asked == [f"/predictions/{MODEL}"] * 3
    visit.page.get_by_role("button", name="Egyptian cat, 61%").click()
    expect_cat(visit.page)
    assert torchserve.asked[3:] == [f"/explanations/{MODEL}"]
    visit.page.get_by_role("button", name="Close", exact=True).click()
    expect(visit.page.locator("#several")).to_be_hidden()


def test_a_multi_label_model_names_every_class(visit: Visit, torchserve: FakeTorchServe) -> None:
    torchserve.multi_label = True
    card = {key: CARD[key] for key in ("name", "version", "classes")} | {"task": "multi-label", "api_key": False}
    visit.page.route("**/model", lambda route: route.fulfill(json=card))
    visit.page.reload()
    choose(visit.page, CAT, CLOCK)
    expect(visit.page.locator("#gallery .caption")).to_have_text(
        ["Egyptian cat, 61%; crane, 22%", "None of its classes"]
    )
    table = downloaded_table(visit)
    named = [("cat.jpg", "Egyptian_cat"), ("cat.jpg", "crane"), ("clock.jpg", "")]
    assert [(row["file"], row["class_name"]) for row in table] == named
    choose(visit.page, CAT)
    expect(heading(visit.page)).to_have_text("Egyptian cat, crane")
    choose(visit.page, CLOCK)
    expect(heading(visit.page)).to_have_text("None of its classes")


def test_a_table_holds_no_formula(visit: Visit, tmp_path: Path) -> None:
    for name in ('=cmd|"a".jpg', "@b,c.jpg"):
        (tmp_path / name).write_bytes(CAT.read_bytes())
    choose(visit.page, *sorted(tmp_path.iterdir()))
    assert [row["file"] for row in downloaded_table(visit)] == ['\'=cmd|"a".jpg', "'@b,c.jpg"]


@pytest.mark.parametrize("visit", [DESKTOP, WIDER_PHONE], indirect=True, ids=["desktop", "phone"])
def test_progress_is_told_and_every_tile_shows_its_whole_photo_and_label(visit: Visit, tmp_path: Path) -> None:
    cats = [tmp_path / f"{i:02}.jpg" for i in range(20)]  # more than the gallery shows without scrolling
    for path in cats:
        path.write_bytes(CAT.read_bytes())
    visit.page.evaluate(
        """window.told = [];
        new MutationObserver(() => told.push(document.querySelector("#several-title").textContent))
          .observe(document.querySelector("#several-title"), { childList: true })"""
    )
    choose(visit.page, *cats)

    expect(visit.page.locator("#gallery .caption")).to_have_text(["Egyptian cat, 61%"] * 20)
    expect(visit.page.locator("#several h2")).to_have_text("20 photos")
    assert visit.page.evaluate("told") == [f"{done} of 20 photos" for done in range(20)] + ["20 photos"]
    expect(visit.page.locator("#progress")).to_be_hidden()
    expect(visit.page.get_by_role("status")).to_have_text("All 20 photos are answered.")
    width = visit.page.viewport_size["width"]  # type: ignore[index]
    for left, right, bottom, photo_shape, caption_bottom in visit.page.evaluate(TILES):
        assert left >= 0
        assert right <= width
        assert photo_shape == pytest.approx(1, abs=0.02)
        assert caption_bottom <= bottom


TILES = """[...document.querySelectorAll("#gallery button")].map((tile) => {
  const [box, photo, caption] = [tile, ...tile.children].map((part) => part.getBoundingClientRect());
  return [box.left, box.right, box.bottom, photo.width / photo.height, caption.bottom];
})"""


def test_photos_are_shown_before_they_are_answered(visit: Visit) -> None:
    held: list[Route] = []
    visit.page.route("**/predict*", lambda route: held.append(route))
    choose(visit.page, CAT, CLOCK)

    drawn = """[...document.querySelectorAll("#gallery canvas")].every(
        (canvas) => canvas.getContext("2d").getImageData(0, 0, 1, 1).data[3] === 255)"""
    until(lambda: visit.page.evaluate(drawn))  # wait_for_function polls with eval, which the policy forbids
    expect(visit.page.locator("#several h2")).to_have_text("0 of 2 photos")
    for route in held:
        route.continue_()
    expect(visit.page.locator("#gallery .caption")).to_have_text(["Egyptian cat, 61%", "Not sure"])


def test_removing_one_of_several_photos_leaves_none_chosen(visit: Visit) -> None:
    choose(visit.page, CAT, CLOCK)
    visit.page.get_by_role("button", name="Egyptian cat, 61%").click()
    expect_cat(visit.page)
    expect(visit.page.locator("#gallery [aria-pressed=true]")).to_have_count(1)

    visit.page.get_by_role("button", name="Remove").click()

    expect(visit.page.locator("#gallery [aria-pressed=true]")).to_have_count(0)
    expect(visit.page.locator("#answer")).to_have_text("Choose one of the photos to see its bars and heatmap.")
