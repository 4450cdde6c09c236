"""A gateway that asks for an API key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from densenet_serving.gateway.keys import ApiKeys
from tests.browser.actions import CAT, choose, expect_cat
from tests.browser.support import DESKTOP, MISTAKEN, Visit


@pytest.fixture
def key(run_dir: Path) -> Iterator[str]:
    """A key, added while the page is open, and asked for from then on."""
    keys = ApiKeys(run_dir)
    yield keys.add("phone")
    keys.path.unlink()


@pytest.mark.parametrize("visit", [MISTAKEN], indirect=True, ids=["mistaken"])
def test_after_the_browsers_prompt_the_page_asks_for_the_key_and_goes_on(visit: Visit, key: str) -> None:
    choose(visit.page, CAT)
    field = visit.page.get_by_label("This gateway asks for an API key")
    field.fill("wrong")
    field.press("Enter")
    expect(visit.page.locator("#key")).to_contain_text("The API key is not valid")
    visit.screenshot("asked")
    field.fill(key)
    visit.page.get_by_role("button", name="Continue").click()

    expect_cat(visit.page)
    expect(visit.page.locator("#key")).to_be_hidden()
    assert '-H "Authorization: Bearer $KEY"' in (visit.page.locator("#curl").text_content() or "")
    assert key not in visit.page.content()


def test_the_browsers_own_prompt_is_enough(browser: Browser, url: str, key: str) -> None:
    """Chromium answers a challenge on a line of its own only; a person would type what the context holds."""
    device = DESKTOP | {"http_credentials": {"username": "anybody", "password": key}}
    with Visit(browser.new_context(**device), url, "prompt") as visit:
        choose(visit.page, CAT)
        expect_cat(visit.page)
        expect(visit.page.locator("#key")).to_be_hidden()
    assert visit.errors == []
