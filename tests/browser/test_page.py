"""What a person does on the page, done in a real browser. Each visit also asks no other host and logs no error."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from scripts import paths
from tests.browser.support import Visit
from tests.web.fake_upstream import IDS, NOT_AN_IMAGE, STOPPED, FakeUpstream

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
DARK = {"viewport": {"width": 1200, "height": 900}, "color_scheme": "dark"}
EXAMPLES = paths.ROOT / "web" / "examples"
CAT, CLOCK = EXAMPLES / "cat.jpg", EXAMPLES / "clock.jpg"
PASTE = """([encoded, type]) => {
  const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([bytes], "pasted", { type }));
  document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("no photo")
    return path


def choose(page: Page, *files: Path, into: str = "#photo") -> None:
    page.locator(f"{into} input[type=file]").first.set_input_files(list(files))


def heading(page: Page) -> Locator:
    return page.locator("#answer h2")


def expect_cat(page: Page) -> None:
    expect(heading(page)).to_have_text("Egyptian cat")
    expect(page.locator("#bars button")).to_have_count(5)
    expect(page.locator("#heatmap img")).to_have_count(2)


def overlay_opacity(page: Page) -> float:
    return float(page.locator("#heatmap .colours").evaluate("image => getComputedStyle(image).opacity"))


def test_an_uploaded_photo_is_answered_with_bars_and_a_heatmap(visit: Visit) -> None:
    choose(visit.page, CAT)

    expect_cat(visit.page)
    expect(visit.page.locator("#bars button").first).to_contain_text("Egyptian cat")
    expect(visit.page.locator("#bars button").first).to_contain_text("61%")
    expect(visit.page.locator("#heatmap")).to_contain_text("speaks for Egyptian cat")


def test_the_slider_fades_the_heatmap(visit: Visit) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)
    assert overlay_opacity(visit.page) == 0.5

    visit.page.get_by_role("slider").fill("80")
    expect(visit.page.locator("#heatmap .colours")).to_have_css("opacity", "0.8")


def test_a_bar_shows_the_heatmap_of_its_class(visit: Visit, upstream: FakeUpstream) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    visit.page.locator("#bars button", has_text="lynx").click()

    expect(visit.page.locator("#heatmap")).to_contain_text("speaks for lynx")
    assert [asked["class_id"] for asked in upstream.explained[-2:]] == [IDS[3]] * 2


def test_a_pasted_photo_is_answered(visit: Visit) -> None:
    visit.page.evaluate(PASTE, [base64.b64encode(CAT.read_bytes()).decode(), "image/jpeg"])

    expect_cat(visit.page)


def test_a_photo_from_the_camera_is_answered(visit: Visit) -> None:
    visit.page.get_by_role("button", name="Capture from camera").click()
    visit.page.get_by_title("grant webcam access").click()
    visit.page.wait_for_function("document.querySelector('#photo video').readyState >= 2")  # it has a picture
    visit.page.get_by_role("button", name="capture photo").click()

    expect(heading(visit.page)).not_to_be_empty()


def test_an_example_is_answered(visit: Visit) -> None:
    visit.page.get_by_role("button", name="A cat").click()

    expect_cat(visit.page)


def test_a_photo_that_is_not_recognized_is_not_given_a_name(visit: Visit) -> None:
    visit.page.get_by_role("button", name="A blurred clock").click()

    expect(heading(visit.page)).to_have_text("Not sure")
    expect(visit.page.locator("#bars button")).to_have_count(5)


def test_taking_the_photo_away_takes_the_answer_away(visit: Visit) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    visit.page.get_by_role("button", name="Remove Image").click()

    expect(visit.page.locator("#answer")).to_contain_text("appears here")
    expect(visit.page.locator("#bars")).to_have_count(0)


def test_several_photos_get_a_label_each(visit: Visit, notes: Path) -> None:
    visit.page.get_by_role("tab", name="Several photos").click()
    choose(visit.page, CAT, CLOCK, notes, into="#photos")

    captions = visit.page.locator("#gallery .caption-label")
    expect(captions).to_have_text(["Egyptian cat, 61%", "Not sure"])
    expect(visit.page.get_by_role("alert")).to_have_text(f"notes.txt: {NOT_AN_IMAGE}")

    visit.screenshot("gallery")
    visit.page.get_by_role("button", name="Egyptian cat, 61%").click()
    expect_cat(visit.page)


def test_a_text_file_is_refused_in_words(visit: Visit, notes: Path) -> None:
    choose(visit.page, notes)

    expect(visit.page.get_by_text("Invalid file type: notes.txt")).to_be_visible()
    expect(visit.page.locator("#bars")).to_have_count(0)


def test_a_text_file_under_the_name_of_a_photo_is_refused_in_words(visit: Visit, notes: Path) -> None:
    choose(visit.page, notes.rename(notes.with_suffix(".jpg")))

    expect(visit.page.get_by_role("alert")).to_have_text(NOT_AN_IMAGE)
    expect(visit.page.locator("#bars")).to_have_count(0)


def test_a_stopped_torchserve_is_said_and_the_page_recovers(visit: Visit, upstream: FakeUpstream) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    upstream.running = False
    visit.page.get_by_role("button", name="A cup of coffee").click()
    expect(visit.page.get_by_role("alert")).to_have_text(STOPPED)
    visit.screenshot("message")

    upstream.running = True
    visit.page.get_by_role("button", name="A cat").click()
    expect_cat(visit.page)


@pytest.mark.parametrize("visit", [PHONE], indirect=True)
def test_a_phone_shows_everything_without_scrolling_sideways(visit: Visit) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    expect(heading(visit.page)).to_be_in_viewport()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360
    for part in ("#photo", "#answer", "#bars", "#heatmap", "#overlay"):
        box = visit.page.locator(part).bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360


@pytest.mark.parametrize("visit", [DARK], indirect=True)
def test_the_dark_is_dark(visit: Visit) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    colour = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    assert max(red, green, blue) < 64


def test_the_keyboard_alone_is_enough(visit: Visit) -> None:
    visit.page.on("filechooser", lambda chooser: chooser.set_files(CAT))
    focused = visit.page.locator(":focus")

    def tab_to(name: str) -> None:
        for _ in range(30):
            visit.page.keyboard.press("Tab")
            if name in (focused.get_attribute("aria-label") or focused.inner_text()):
                return
        raise AssertionError(f"no Tab leads to {name!r}")

    tab_to("upload")
    visit.page.keyboard.press("Enter")
    expect_cat(visit.page)

    tab_to("A blurred clock")
    visit.page.keyboard.press("Enter")
    expect(heading(visit.page)).to_have_text("Not sure")

    tab_to("lynx")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator("#heatmap")).to_contain_text("speaks for lynx")

    tab_to("range slider")
    visit.page.keyboard.press("ArrowRight")
    expect(visit.page.locator("#heatmap .colours")).to_have_css("opacity", "0.55")


@pytest.mark.parametrize("visit", [PHONE, DARK], indirect=True, ids=["phone", "dark"])
def test_axe_finds_nothing_serious(visit: Visit, notes: Path) -> None:
    assert serious(visit.page) == []

    choose(visit.page, CAT)
    expect_cat(visit.page)
    assert serious(visit.page) == []

    choose(visit.page, notes.rename(notes.with_suffix(".jpg")))
    expect(visit.page.get_by_role("alert")).to_be_visible()
    assert serious(visit.page) == []

    visit.page.get_by_role("tab", name="Several photos").click()
    assert serious(visit.page) == []
    choose(visit.page, CAT, CLOCK, into="#photos")
    expect(visit.page.locator("#gallery .caption-label")).to_have_count(2)
    assert serious(visit.page) == []


def serious(page: Page) -> list[str]:
    """Name what axe-core calls serious or critical, with the first element of each, once nothing moves or fades."""
    page.wait_for_function("document.getAnimations().every((animation) => animation.playState !== 'running')")
    violations = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {violation['nodes'][0]['html']}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]
