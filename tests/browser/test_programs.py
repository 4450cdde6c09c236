"""What a program needs: the answer as JSON, the curl line, the documentation."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.actions import CAT, choose, expect_cat
from tests.browser.support import CLIPBOARD, Visit
from tests.browser.torchserve import IDS


@pytest.mark.parametrize("visit", [CLIPBOARD], indirect=True)
def test_what_a_program_needs_can_be_copied(visit: Visit, tmp_path: Path) -> None:
    photo = tmp_path / 'it\'s "a";,cat.jpg'
    photo.write_bytes(CAT.read_bytes())
    choose(visit.page, photo)
    expect_cat(visit.page)
    visit.page.get_by_text("Use it from a program").click()

    visit.page.get_by_role("button", name="Copy the JSON").click()
    expect(visit.page.get_by_role("button", name="Copied")).to_be_visible()
    answer = json.loads(visit.page.evaluate("navigator.clipboard.readText()"))
    assert [candidate["class_id"] for candidate in answer["predictions"]] == list(IDS)

    visit.page.get_by_role("button", name="Copy the curl line").click()
    expect(visit.page.get_by_role("button", name="Copied")).to_have_count(2)
    line = visit.page.evaluate("navigator.clipboard.readText()")
    done = subprocess.run(shlex.split(line), cwd=tmp_path, capture_output=True, check=True)
    assert json.loads(done.stdout) == answer


def test_the_documentation_works_under_the_same_policy(visit: Visit) -> None:
    visit.page.get_by_role("link", name="API documentation").click()

    expect(visit.page.get_by_text("POST/explain", exact=False).first).to_be_visible()
    visit.page.locator("#operations-default-model_model_get button").first.click()
    visit.page.get_by_role("button", name="Try it out").click()
    visit.page.get_by_role("button", name="Execute").click()
    expect(visit.page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")
