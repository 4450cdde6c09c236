"""Photos come from everywhere: chosen, pasted, dropped, an example."""

from __future__ import annotations

import base64
from pathlib import Path

from playwright.sync_api import expect

from tests import pictures
from tests.browser.actions import CAT, choose, expect_cat
from tests.browser.support import Visit

FILES = """([encoded, type]) => {
  const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], "given", { type }));
  return transfer;
}"""
PASTE = f"""(photo) => document.body.dispatchEvent(new ClipboardEvent("paste",
  {{ clipboardData: ({FILES})(photo), bubbles: true, cancelable: true }}))"""
DROP = f"""(photo) => document.querySelector("footer").dispatchEvent(new DragEvent("drop",
  {{ dataTransfer: ({FILES})(photo), bubbles: true, cancelable: true }}))"""


def given(path: Path) -> list[str]:
    return [base64.b64encode(path.read_bytes()).decode(), "image/jpeg"]


def test_a_pasted_photo_is_answered(visit: Visit) -> None:
    visit.page.evaluate(PASTE, given(CAT))

    expect_cat(visit.page)


def test_a_photo_dropped_anywhere_is_answered(visit: Visit) -> None:
    visit.page.evaluate(DROP, given(CAT))

    expect_cat(visit.page)


def test_an_example_is_answered(visit: Visit) -> None:
    for name in ("A cup of coffee", "A photographer"):
        expect(visit.page.get_by_role("button", name=name).locator("img")).to_have_js_property("complete", True)
    visit.page.get_by_role("button", name="A cat").click()

    expect_cat(visit.page)


def test_taking_the_photo_away_takes_the_answer_away(visit: Visit) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    visit.page.get_by_role("button", name="Remove").click()

    expect(visit.page.locator("#answer")).to_contain_text("appears here")
    expect(visit.page.locator("#bars")).to_be_hidden()
    expect(visit.page.locator("#why")).to_be_hidden()
    expect(visit.page.locator("#preview")).to_be_hidden()


def test_a_format_that_no_browser_shows_is_answered_all_the_same(visit: Visit, tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    scan.write_bytes(pictures.encode(pictures.photo("chelsea"), "TIFF"))
    choose(visit.page, scan)

    expect_cat(visit.page)
    expect(visit.page.locator("#no-preview")).to_be_visible()
