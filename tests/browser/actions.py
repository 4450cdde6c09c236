"""What a person does and sees on the page, in a line each."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Download, Locator, Page, expect

from densenet_serving import paths

EXAMPLES = paths.ROOT / "densenet_serving" / "gateway" / "examples"
CAT, CLOCK = EXAMPLES / "cat.jpg", EXAMPLES / "clock.jpg"
BARS = ["Egyptian cat", "crane (n02012849)", "crane (n03126707)", "lynx", "<img src=x onerror=alert(1)>"]


def choose(page: Page, *files: Path) -> None:
    page.locator("#photo input[type=file]").set_input_files(list(files))


def heading(page: Page) -> Locator:
    return page.locator("#answer h2")


def expect_cat(page: Page) -> None:
    expect(heading(page)).to_have_text("Egyptian cat")
    expect(page.locator("#bars button")).to_have_count(5)
    expect(page.locator("#heatmap img")).to_have_js_property("complete", True)
    expect(page.locator("#heatmap .colors")).to_have_js_property("width", 224)


def downloaded(download: Download) -> bytes:
    return Path(download.path()).read_bytes()
