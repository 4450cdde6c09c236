"""Phones, the dark, the keyboard alone, and axe-core."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.browser.actions import CAT, CLOCK, choose, expect_cat, heading
from tests.browser.support import DARK, DARK_PHONE, DESKTOP, PHONE, WIDER_PHONE, Visit


@pytest.mark.parametrize("visit", [PHONE, WIDER_PHONE, DARK_PHONE], indirect=True, ids=["360", "390", "390-dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(visit: Visit, notes: Path) -> None:
    expect(visit.page.get_by_text("Choose photos or take one")).to_be_visible()  # there is nothing to drop with
    choose(visit.page, CAT)
    expect_cat(visit.page)

    width = visit.page.viewport_size["width"]  # type: ignore[index]
    expect(heading(visit.page)).to_be_in_viewport()
    visit.page.locator("#code summary").click()
    for part in ("#photo", "#answer", "#bars", "#heatmap", "#overlay", "#curl", "#model"):
        box = visit.page.locator(part).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    visit.screenshot("one")
    choose(visit.page, CAT, CLOCK, notes)
    expect(visit.page.locator("#gallery .caption")).to_have_count(2)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("visit", [DARK], indirect=True)
def test_the_dark_is_dark(visit: Visit) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    color = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(","))
    assert max(red, green, blue) < 64
    visit.screenshot()


def test_the_keyboard_alone_is_enough(visit: Visit) -> None:
    visit.page.on("filechooser", lambda chooser: chooser.set_files(CAT))
    focused = visit.page.locator(":focus")

    def tab_to(name: str) -> None:
        for _ in range(30):
            visit.page.keyboard.press("Tab")
            if name in visit.page.evaluate(NAME_OF_FOCUSED):
                return
        raise AssertionError(f"no Tab leads to {name!r}")

    tab_to("Choose photos")
    visit.page.keyboard.press("Enter")
    expect_cat(visit.page)

    tab_to("A blurred clock")
    visit.page.keyboard.press("Enter")
    expect(heading(visit.page)).to_have_text("Not sure")

    tab_to("lynx")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#heatmap")).to_contain_text("evidence for lynx")

    tab_to("Heatmap strength")
    visit.page.keyboard.press("ArrowRight")
    expect(visit.page.locator("#heatmap .colors")).to_have_css("opacity", "0.55")

    tab_to("Use it from a program")
    visit.page.keyboard.press("Enter")
    tab_to("Copy the JSON")
    expect(focused).to_be_visible()


NAME_OF_FOCUSED = """() => {
  const { innerText, labels, firstElementChild } = document.activeElement;
  return [innerText, labels?.[0]?.innerText, firstElementChild?.alt].join(" ");
}"""


@pytest.mark.parametrize("visit", [DESKTOP, PHONE, DARK], indirect=True, ids=["light", "phone", "dark"])
def test_axe_finds_nothing_serious(visit: Visit, notes: Path) -> None:
    assert serious(visit.page) == []

    choose(visit.page, CAT)
    expect_cat(visit.page)
    visit.page.locator("#code summary").click()
    assert serious(visit.page) == []

    choose(visit.page, notes)
    expect(visit.page.get_by_role("alert")).to_be_visible()
    assert serious(visit.page) == []

    choose(visit.page, CAT, CLOCK, notes)
    expect(visit.page.locator("#gallery .caption")).to_have_text(["Egyptian cat, 61%", "Not sure"])
    assert serious(visit.page) == []


def serious(page: Page) -> list[str]:
    """Name what axe-core calls serious or critical, with the first element of each, once nothing moves or fades."""
    page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
    violations = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['nodes'][0]['html']}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]


def test_axe_finds_nothing_serious_in_long_lists(visit: Visit, notes: Path, tmp_path: Path) -> None:
    """More refusals than fit, and more photos than fit while none is answered yet."""
    copies = [tmp_path / f"{i:02}.txt" for i in range(9)]
    for copy in copies:
        copy.write_bytes(notes.read_bytes())
    choose(visit.page, CAT, *copies)
    expect(visit.page.locator("#problems .problem")).to_have_count(9)
    assert serious(visit.page) == []

    held: list[Route] = []
    visit.page.route("**/predict*", lambda route: held.append(route))
    choose(visit.page, *[CAT, CLOCK] * 12)
    expect(visit.page.locator("#several h2")).to_have_text("0 of 24 photos")
    assert serious(visit.page) == []
