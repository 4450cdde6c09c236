"""The answer: bars, names, the model that gave it, and what is refused in words."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, Route, expect

from densenet_serving.gateway.upstream import NOT_RUNNING
from tests.browser.actions import BARS, CAT, choose, expect_cat, heading
from tests.browser.support import Visit
from tests.browser.torchserve import NOT_AN_IMAGE, FakeTorchServe
from tests.densenet_serving.gateway.conftest import CARD


def test_an_uploaded_photo_is_answered_with_bars_and_a_heatmap(visit: Visit) -> None:
    choose(visit.page, CAT)

    expect_cat(visit.page)
    expect(visit.page.locator("#bars .name")).to_have_text(BARS)
    expect(visit.page.locator("#bars .percent")).to_have_text(["61%", "22%", "10%", "3%", "<1%"])
    expect(visit.page.locator("#heatmap")).to_contain_text("evidence for Egyptian cat")
    expect(visit.page.locator("#answer .took")).to_have_text(re.compile(r"^densenet121 answered in \d+"))
    expect(visit.page.locator("#preview")).to_be_visible()
    visit.screenshot()


def test_a_photo_that_is_not_recognized_is_not_given_a_name(visit: Visit) -> None:
    visit.page.get_by_role("button", name="A blurred clock").click()

    expect(heading(visit.page)).to_have_text("Not sure")
    expect(visit.page.locator("#answer")).to_contain_text("These come closest")
    expect(visit.page.locator("#bars button")).to_have_count(5)


def test_an_answer_that_comes_late_does_not_replace_a_later_one(visit: Visit) -> None:
    """The cat's answer is held back until the clock's has been shown."""
    held: list[Route] = []
    visit.page.route("**/explain*", lambda route: held.append(route) if not held else route.continue_())
    visit.page.get_by_role("button", name="A cat").click()
    expect(visit.page.locator("#answer")).to_contain_text("Looking at it")
    visit.page.get_by_role("button", name="A blurred clock").click()
    expect(heading(visit.page)).to_have_text("Not sure")
    expect(visit.page.locator("#heatmap .colors")).to_be_visible()

    (late,) = held
    late.continue_()
    ask_past_the_page(visit.page)  # an answer that could have come has come by then
    expect(heading(visit.page)).to_have_text("Not sure")


def ask_past_the_page(page: Page) -> None:
    """Ask for three answers without the page."""
    page.evaluate(
        """async () => {
        const photo = await (await fetch("page/examples/cat.jpg")).blob();
        for (let i = 0; i < 3; i++) {
          const body = new FormData();
          body.append("file", photo);
          await (await fetch("explain?class_id=n02124075&overlay=0", { method: "POST", body })).json();
        }
        }"""
    )


def test_the_models_card_is_shown(visit: Visit) -> None:
    card = visit.page.locator("#model")

    expect(card).to_contain_text("densenet121 2.0")
    expect(card).to_contain_text("file cats.pth")
    expect(card).to_contain_text("74.4% top-1, 92.0% top-5 on ImageNet")
    expect(card).to_contain_text("OpenVINO, bf16, CPU")
    assert str(CARD["preprocessing"]) not in card.inner_text()


def test_a_text_file_is_refused_in_words(visit: Visit, notes: Path) -> None:
    choose(visit.page, notes)

    expect(visit.page.get_by_role("alert")).to_have_text(NOT_AN_IMAGE)
    expect(visit.page.locator("#bars")).to_be_hidden()


def test_a_stopped_torchserve_is_said_and_the_page_recovers(visit: Visit, torchserve: FakeTorchServe) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    torchserve.running = False
    visit.page.get_by_role("button", name="A cup of coffee").click()
    expect(visit.page.get_by_role("alert")).to_have_text(NOT_RUNNING)
    visit.screenshot("message")

    torchserve.running = True
    visit.page.get_by_role("button", name="A cat").click()
    expect_cat(visit.page)
    expect(visit.page.get_by_role("alert")).to_have_count(0)
