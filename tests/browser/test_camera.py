"""A photo from the camera, and a camera that gives none."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.actions import heading
from tests.browser.support import Visit


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

    visit.page.wait_for_function("window.given?.getTracks()[0].readyState === 'ended'")
    expect(visit.page.locator("#photo video")).to_be_hidden()
    expect(visit.page.get_by_role("button", name="Choose photos")).to_be_visible()
