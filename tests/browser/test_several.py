"""Several photos at once: labels, progress, the table."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.actions import CAT, CLOCK, choose, downloaded, expect_cat
from tests.browser.support import Visit
from tests.browser.torchserve import NOT_AN_IMAGE


def test_several_photos_get_a_label_each_and_a_table(visit: Visit, notes: Path) -> None:
    choose(visit.page, CAT, CLOCK, notes)

    expect(visit.page.locator("#several h2")).to_have_text("3 photos")
    expect(visit.page.locator("#gallery .caption")).to_have_text(["Egyptian cat, 61%", "Not sure"])
    expect(visit.page.get_by_role("alert")).to_have_text(f"notes.txt: {NOT_AN_IMAGE}")
    visit.screenshot("gallery")

    with visit.page.expect_download() as waiting:
        visit.page.get_by_role("button", name="Download CSV").click()
    assert waiting.value.suggested_filename == "photos.csv"
    table = list(csv.DictReader(io.StringIO(downloaded(waiting.value).decode())))
    assert [row["file"] for row in table] == ["cat.jpg", "clock.jpg", "notes.txt"]
    assert [row["class_name"] for row in table] == ["Egyptian_cat", "", ""]
    assert [row["recognized"] for row in table] == ["true", "false", ""]
    assert (table[0]["probability"], table[2]["error"]) == ("0.61", NOT_AN_IMAGE)

    visit.page.get_by_role("button", name="Egyptian cat, 61%").click()
    expect_cat(visit.page)
    visit.page.get_by_role("button", name="Close", exact=True).click()
    expect(visit.page.locator("#several")).to_be_hidden()


def test_a_table_holds_no_formula(visit: Visit, tmp_path: Path) -> None:
    for name in ('=cmd|"a".jpg', "@b,c.jpg"):
        (tmp_path / name).write_bytes(CAT.read_bytes())
    choose(visit.page, *sorted(tmp_path.iterdir()))
    with visit.page.expect_download() as waiting:
        visit.page.get_by_role("button", name="Download CSV").click()

    table = list(csv.DictReader(io.StringIO(downloaded(waiting.value).decode())))
    assert [row["file"] for row in table] == ['\'=cmd|"a".jpg', "'@b,c.jpg"]


def test_progress_is_told_while_photos_are_answered(visit: Visit, tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"{i:02}.jpg").write_bytes(CAT.read_bytes())
    visit.page.evaluate(
        """window.told = [];
        new MutationObserver(() => told.push(document.querySelector("#several-title").textContent))
          .observe(document.querySelector("#several-title"), { childList: true })"""
    )
    choose(visit.page, *sorted(tmp_path.iterdir()))

    expect(visit.page.locator("#gallery .caption")).to_have_text(["Egyptian cat, 61%"] * 12)
    expect(visit.page.locator("#several h2")).to_have_text("12 photos")
    told = visit.page.evaluate("told")
    assert told == [f"{done} of 12 photos" for done in range(12)] + ["12 photos"]
    expect(visit.page.locator("#progress")).to_be_hidden()
