"""What a person does on the page, done in a real browser. Each visit also asks no other host and logs no error."""

from __future__ import annotations

import base64
import csv
import io
import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Download, Locator, Page, Route, expect

from scripts import paths
from tests import pictures
from tests.browser.conftest import DESKTOP
from tests.browser.support import Visit
from tests.browser.torchserve import CARD, IDS, NAMES, NOT_AN_IMAGE, STOPPED, FakeTorchServe
from web.keys import ApiKeys

PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
WIDER_PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DARK = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"}
DARK_PHONE = WIDER_PHONE | {"color_scheme": "dark"}
# A person who types a wrong key into the browser's own prompt and then closes it.
MISTAKEN = DESKTOP | {"http_credentials": {"username": "anybody", "password": "wrong"}}
CLIPBOARD = DESKTOP | {"permissions": ["clipboard-read", "clipboard-write"]}
EXAMPLES = paths.ROOT / "web" / "examples"
CAT, CLOCK = EXAMPLES / "cat.jpg", EXAMPLES / "clock.jpg"
BARS = ["Egyptian cat", "crane (n02012849)", "crane (n03126707)", "lynx", "<img src=x onerror=alert(1)>"]
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


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.txt"
    path.write_text("no photo")
    return path


@pytest.fixture
def key(run_dir: Path) -> Iterator[str]:
    """A key, added while the page is open, and asked for from then on."""
    keys = ApiKeys(run_dir)
    yield keys.add("phone")
    keys.path.unlink()


def choose(page: Page, *files: Path) -> None:
    page.locator("#photo input[type=file]").set_input_files(list(files))


def heading(page: Page) -> Locator:
    return page.locator("#answer h2")


def expect_cat(page: Page) -> None:
    expect(heading(page)).to_have_text("Egyptian cat")
    expect(page.locator("#bars button")).to_have_count(5)
    expect(page.locator("#heatmap img")).to_have_count(2)


def given(path: Path) -> list[str]:
    return [base64.b64encode(path.read_bytes()).decode(), "image/jpeg"]


def overlay_opacity(page: Page) -> float:
    return float(page.locator("#heatmap .colours").evaluate("image => getComputedStyle(image).opacity"))


def downloaded(download: Download) -> bytes:
    return Path(download.path()).read_bytes()


def test_an_uploaded_photo_is_answered_with_bars_and_a_heatmap(visit: Visit) -> None:
    choose(visit.page, CAT)

    expect_cat(visit.page)
    expect(visit.page.locator("#bars .name")).to_have_text(BARS)
    expect(visit.page.locator("#bars .percent")).to_have_text(["61%", "22%", "10%", "3%", "<1%"])
    expect(visit.page.locator("#heatmap")).to_contain_text("speaks for Egyptian cat")
    expect(visit.page.locator("#answer .took")).to_contain_text("Answered in ")
    expect(visit.page.locator("#preview")).to_be_visible()


def test_what_a_class_is_called_is_text_and_nothing_else(visit: Visit) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    visit.page.locator("#bars button").last.click()

    expect(visit.page.locator("#heatmap strong")).to_have_text(NAMES[4])
    expect(visit.page.locator("img[src=x]")).to_have_count(0)


def test_the_slider_fades_the_heatmap(visit: Visit) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)
    assert overlay_opacity(visit.page) == 0.5

    visit.page.get_by_role("slider").fill("80")
    expect(visit.page.locator("#heatmap .colours")).to_have_css("opacity", "0.8")


def test_a_bar_shows_the_heatmap_of_its_class_whatever_the_alphabet_of_its_id(
    visit: Visit, torchserve: FakeTorchServe
) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    visit.page.locator("#bars button", has_text="lynx").click()

    expect(visit.page.locator("#heatmap")).to_contain_text("speaks for lynx")
    expect(visit.page.locator("#bars button[aria-pressed=true]")).to_contain_text("lynx")
    assert [asked["class_id"] for asked in torchserve.explained[-2:]] == [IDS[3]] * 2


def test_the_heatmap_can_be_kept_as_it_is_seen(visit: Visit) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)
    visit.page.get_by_role("slider").fill("0")

    with visit.page.expect_download() as waiting:
        visit.page.get_by_role("button", name="Download PNG").click()

    assert waiting.value.suggested_filename == "cat-heatmap.png"
    kept = Image.open(io.BytesIO(downloaded(waiting.value))).convert("RGB")
    with Image.open(CAT) as photo:
        as_sent = photo.convert("RGB").resize(kept.size)
    assert kept.size == (224, 224)
    assert kept.tobytes() == as_sent.tobytes()  # without colour it is the photo


def test_a_pasted_photo_is_answered(visit: Visit) -> None:
    visit.page.evaluate(PASTE, given(CAT))

    expect_cat(visit.page)


def test_a_photo_dropped_anywhere_is_answered(visit: Visit) -> None:
    visit.page.evaluate(DROP, given(CAT))

    expect_cat(visit.page)


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

    for _ in range(100):
        if visit.page.evaluate("window.given?.getTracks()[0].readyState") == "ended":
            break
        visit.page.wait_for_timeout(50)
    else:
        raise AssertionError("the camera is still on")
    expect(visit.page.locator("#photo video")).to_be_hidden()
    expect(visit.page.get_by_role("button", name="Choose photos")).to_be_visible()


def test_an_example_is_answered(visit: Visit) -> None:
    for name in ("A cup of coffee", "A photographer"):
        expect(visit.page.get_by_role("button", name=name).locator("img")).to_have_js_property("complete", True)
    visit.page.get_by_role("button", name="A cat").click()

    expect_cat(visit.page)


def test_a_photo_that_is_not_recognized_is_not_given_a_name(visit: Visit) -> None:
    visit.page.get_by_role("button", name="A blurred clock").click()

    expect(heading(visit.page)).to_have_text("Not sure")
    expect(visit.page.locator("#answer")).to_contain_text("These come closest")
    expect(visit.page.locator("#bars button")).to_have_count(5)


def test_an_answer_that_comes_late_does_not_replace_a_later_one(visit: Visit) -> None:
    """The cat's answer is held back until the clock's has been shown."""
    held: list[Route] = []
    visit.page.route("**/predict*", lambda route: held.append(route) if not held else route.continue_())
    visit.page.get_by_role("button", name="A cat").click()
    expect(visit.page.locator("#answer")).to_contain_text("Looking at it")
    visit.page.get_by_role("button", name="A blurred clock").click()
    expect(heading(visit.page)).to_have_text("Not sure")
    expect(visit.page.locator("#heatmap img")).to_have_count(2)

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


def test_taking_the_photo_away_takes_the_answer_away(visit: Visit) -> None:
    choose(visit.page, CAT)
    expect_cat(visit.page)

    visit.page.get_by_role("button", name="Remove").click()

    expect(visit.page.locator("#answer")).to_contain_text("appears here")
    expect(visit.page.locator("#bars")).to_be_hidden()
    expect(visit.page.locator("#why")).to_be_hidden()
    expect(visit.page.locator("#preview")).to_be_hidden()


def test_an_archive_that_cannot_explain_answers_without_a_heatmap(visit: Visit, torchserve: FakeTorchServe) -> None:
    torchserve.explains = False
    choose(visit.page, CAT)

    expect(heading(visit.page)).to_have_text("Egyptian cat")
    expect(visit.page.locator("#why")).to_be_hidden()
    expect(visit.page.get_by_role("alert")).to_have_count(0)


def test_a_format_that_no_browser_shows_is_answered_all_the_same(visit: Visit, tmp_path: Path) -> None:
    scan = tmp_path / "scan.tif"
    scan.write_bytes(pictures.encode(pictures.photo("chelsea"), "TIFF"))
    choose(visit.page, scan)

    expect_cat(visit.page)
    expect(visit.page.locator("#no-preview")).to_be_visible()


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


def test_the_models_card_is_shown(visit: Visit) -> None:
    card = visit.page.locator("#model")

    expect(card).to_contain_text("densenet121 1.0")
    expect(card).to_contain_text("file cats.pth")
    expect(card).to_contain_text("74.4 % top-1, 92.0 % top-5 on ImageNet")
    expect(card).to_contain_text("OpenVINO, bf16, CPU")
    assert str(CARD["preprocessing"]) not in card.inner_text()


def test_the_documentation_works_under_the_same_policy(visit: Visit) -> None:
    visit.page.get_by_role("link", name="API documentation").click()

    expect(visit.page.get_by_text("POST/explain", exact=False).first).to_be_visible()
    visit.page.locator("#operations-default-model_model_get button").first.click()
    visit.page.get_by_role("button", name="Try it out").click()
    visit.page.get_by_role("button", name="Execute").click()
    expect(visit.page.locator(".live-responses-table .response-col_status").last).to_contain_text("200")


@pytest.mark.parametrize("visit", [MISTAKEN], indirect=True, ids=["mistaken"])
def test_after_the_browsers_prompt_the_page_asks_for_the_key_and_goes_on(visit: Visit, key: str) -> None:
    choose(visit.page, CAT)
    field = visit.page.get_by_label("This gateway asks for an API key")
    field.fill("wrong")
    field.press("Enter")
    expect(visit.page.locator("#key")).to_contain_text("The API key is not valid")
    visit.screenshot("asked")
    field.fill(key)
    visit.page.get_by_role("button", name="Go on").click()

    expect_cat(visit.page)
    expect(visit.page.locator("#key")).to_be_hidden()
    assert '-H "Authorization: Bearer $KEY"' in (visit.page.locator("#curl").text_content() or "")
    assert key not in visit.page.content()


def test_the_browsers_own_prompt_is_enough(browser: Browser, url: str, key: str) -> None:
    """Chromium answers a challenge on a line of its own only; a person would type what the context holds."""
    device = DESKTOP | {"http_credentials": {"username": "anybody", "password": key}}
    with Visit(browser, url, "prompt", device) as visit:
        choose(visit.page, CAT)
        expect_cat(visit.page)
        expect(visit.page.locator("#key")).to_be_hidden()
    assert visit.errors == []


@pytest.mark.parametrize("visit", [PHONE, WIDER_PHONE, DARK_PHONE], indirect=True, ids=["360", "390", "390-dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(visit: Visit, notes: Path) -> None:
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

    colour = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    red, green, blue = (int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
    assert max(red, green, blue) < 64


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
    expect(visit.page.locator("#heatmap")).to_contain_text("speaks for lynx")

    tab_to("Heatmap strength")
    visit.page.keyboard.press("ArrowRight")
    expect(visit.page.locator("#heatmap .colours")).to_have_css("opacity", "0.55")

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
