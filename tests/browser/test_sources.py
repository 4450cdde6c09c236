"""Photos come from everywhere: chosen, pasted, dropped, an example, the camera."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests import pictures
from tests.browser.actions import CAT, CLOCK, choose, expect_cat, heading
from tests.browser.support import Visit
from tests.waiting import until

FILES = """(photos) => {
  const transfer = new DataTransfer();
  for (const encoded of photos) {
    const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], "given", { type: "image/jpeg" }));
  }
  if (photos.length === 0) transfer.setData("text/uri-list", "https://example.org/cat.jpg");
  return transfer;
}"""
PASTE = f"""(photos) => document.body.dispatchEvent(new ClipboardEvent("paste",
  {{ clipboardData: ({FILES})(photos), bubbles: true, cancelable: true }}))"""
DROP = f"""([target, ...photos]) => document.querySelector(target).dispatchEvent(new DragEvent("drop",
  {{ dataTransfer: ({FILES})(photos), bubbles: true, cancelable: true }}))"""


def encoded(*paths: Path) -> list[str]:
    return [base64.b64encode(path.read_bytes()).decode() for path in paths]


@pytest.mark.parametrize("give", [(PASTE, encoded(CAT)), (DROP, ["footer", *encoded(CAT)])], ids=["pasted", "dropped"])
def test_a_photo_may_be_given_anywhere_on_the_page(visit: Visit, give: tuple[str, list[str]]) -> None:
    visit.page.evaluate(*give)

    expect_cat(visit.page)


def test_two_photos_dropped_on_one_take_its_place(visit: Visit) -> None:
    choose(visit.page, CLOCK)
    expect(heading(visit.page)).to_have_text("Not sure")

    visit.page.evaluate(DROP, ["#preview", *encoded(CAT, CAT)])

    expect(visit.page.locator("#gallery .caption")).to_have_text(["Egyptian cat, 61%"] * 2)
    expect(visit.page.locator("#preview")).to_be_hidden()
    expect(heading(visit.page)).to_have_count(0)


def test_a_dropped_link_is_refused_in_words(visit: Visit) -> None:
    """A picture dragged from another page may be a link alone, which the content security policy forbids to open."""
    visit.page.evaluate(DROP, ["#stage"])

    expect(visit.page.get_by_role("alert")).to_contain_text("Save the picture")


def test_an_example_is_answered(visit: Visit) -> None:
    for name in ("A cup of coffee", "A photographer"):
        expect(visit.page.get_by_role("button", name=name).locator("img")).to_have_js_property("complete", True)
    visit.page.get_by_role("button", name="A cat").click()

    expect_cat(visit.page)


def test_taking_the_photo_away_takes_the_answer_away_also_before_it_came(visit: Visit) -> None:
    def remove() -> None:
        visit.page.get_by_role("button", name="Remove").click()
        expect(visit.page.locator("#answer")).to_contain_text("appears here")
        for part in ("#bars", "#why", "#preview"):
            expect(visit.page.locator(part)).to_be_hidden()
        expect(visit.page.locator("[aria-busy=true]")).to_have_count(0)

    choose(visit.page, CAT)
    expect_cat(visit.page)
    remove()
    held: list[Route] = []
    visit.page.route("**/explain*", lambda route: held.append(route))
    choose(visit.page, CAT)
    expect(visit.page.locator("#answer")).to_have_attribute("aria-busy", "true")
    remove()


def test_a_format_that_no_browser_shows_is_answered_all_the_same(visit: Visit, tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    scan.write_bytes(pictures.encode(pictures.photo("chelsea"), "TIFF"))
    choose(visit.page, scan)

    expect_cat(visit.page)
    expect(visit.page.locator("#no-preview")).to_be_visible()


def test_a_photo_from_the_camera_is_answered(visit: Visit) -> None:
    visit.page.get_by_role("button", name="Use the camera").click()
    expect(visit.page.locator("#photo video")).to_have_js_property("readyState", 4)  # it has a picture
    visit.screenshot("viewfinder")
    visit.page.get_by_role("button", name="Take the photo").click()

    expect(heading(visit.page)).not_to_be_empty()
    expect(visit.page.locator("#preview")).to_be_visible()
    expect(visit.page.locator("#photo video")).to_be_hidden()
    assert visit.page.evaluate("document.querySelector('#photo video').srcObject") is None  # it is off again


def test_a_camera_that_may_not_be_used_is_said(visit: Visit) -> None:
    visit.page.evaluate(
        "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('Permission denied') } }"
    )
    visit.page.get_by_role("button", name="Use the camera").click()

    expect(visit.page.get_by_role("alert")).to_have_text("The camera cannot be used: Permission denied.")
    expect(visit.page.get_by_role("button", name="Choose photos")).to_be_visible()


def test_a_camera_that_is_closed_before_it_opens_stays_off(visit: Visit) -> None:
    visit.page.evaluate(
        """() => {
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        window.opening = new Promise((resolve) => (window.allow = resolve));
        navigator.mediaDevices.getUserMedia = async (wish) => {
          await opening;
          return (window.given = await ask(wish));
        };
        }"""
    )
    visit.page.get_by_role("button", name="Use the camera").click()
    expect(visit.page.get_by_role("button", name="Take the photo")).to_be_disabled()
    visit.page.get_by_role("button", name="Close the camera").click()
    visit.page.evaluate("allow()")

    until(lambda: visit.page.evaluate("window.given?.getTracks()[0].readyState") == "ended")
    expect(visit.page.locator("#photo video")).to_be_hidden()
    expect(visit.page.get_by_role("button", name="Choose photos")).to_be_visible()
