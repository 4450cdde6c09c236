"""What is refused is said in words."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.actions import CAT, choose, expect_cat
from tests.browser.support import Visit
from tests.browser.torchserve import NOT_AN_IMAGE, STOPPED, FakeTorchServe


def test_a_text_file_is_refused_in_words(visit: Visit, notes: Path) -> None:
    choose(visit.page, notes)

    expect(visit.page.get_by_role("alert")).to_have_text(NOT_AN_IMAGE)
    expect(visit.page.locator("#bars")).to_be_hidden()


def test_a_stopped_torchserve_is_said_and_the_page_recovers(visit: Visit, torchserve: FakeTorchServe) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    torchserve.running = False
    visit.page.get_by_role("button", name="A cup of coffee").click()
    expect(visit.page.get_by_role("alert")).to_have_text(STOPPED)
    visit.screenshot("message")

    torchserve.running = True
    visit.page.get_by_role("button", name="A cat").click()
    expect_cat(visit.page)
    expect(visit.page.get_by_role("alert")).to_have_count(0)
