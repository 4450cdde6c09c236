"""The page at /: drop a photo and see what is in it, how sure the model is, and what in the photo says so.

It asks nobody but the server it came from: the fonts are the system's, and Gradio's analytics are off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from scripts import paths
from web import wording
from web.events import Events
from web.upstream import Upstream

FOLDER = Path(__file__).parent
# page.js has a name for each, in this order.
EXAMPLES = [paths.SAMPLE_PHOTO, *(FOLDER / "examples" / name for name in ("cat.jpg", "camera.jpg", "clock.jpg"))]
OVERLAY_PERCENT = 50
LARGEST_UPLOAD = "20mb"  # the handler's own limit, which counts; this one spares the upload
KEPT_SECONDS, SWEEP_SECONDS = 3600, 300  # how long Gradio keeps what was uploaded, how often it looks
EVENT: dict[str, Any] = {"concurrency_limit": 16, "api_visibility": "private"}
# Gradio checks that the file is one that it was sent, and leaves it encoded.
AS_SENT = {**EVENT, "preprocess": False}

SET_OVERLAY = "percent => document.documentElement.style.setProperty('--overlay', percent / 100)"
SHOW_ANSWER = "() => showAnswer()"


def mount(app: FastAPI, upstream: Upstream) -> FastAPI:
    """Serve the page at "/". It answers every path that `app` does not know yet, so this comes last."""
    blocks = build(upstream)
    # Only launch() sets this, and without it Gradio 6.31 takes any file of this machine that a client names.
    blocks.has_launched = True
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        blocks,
        "/",
        css_paths=FOLDER / "page.css",
        js=(FOLDER / "page.js").read_text(),
        theme=theme(),
        footer_links=[],
        max_file_size=LARGEST_UPLOAD,
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
    )
    return mounted


def build(upstream: Upstream) -> gr.Blocks:
    events = Events(upstream)
    blocks: gr.Blocks
    with gr.Blocks(
        title="What is in the photo?", analytics_enabled=False, delete_cache=(SWEEP_SECONDS, KEPT_SECONDS)
    ) as blocks:
        gr.HTML("<h1>What is in the photo?</h1>", elem_id="title")
        with gr.Tabs() as tabs:
            with gr.Tab("One photo", id="one"), gr.Row():
                photo = _one(events)
            with gr.Tab("Several photos", id="several"):
                _several(events, tabs, photo)
    return blocks


def theme() -> gr.themes.Base:
    """Gradio's own, with fonts that every machine has and with colours that can be read (WCAG AA)."""
    fonts = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif")
    return gr.themes.Base(primary_hue="indigo", neutral_hue="slate", font=fonts, font_mono=fonts).set(
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_700",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        color_accent="*primary_700",
        link_text_color_dark="*primary_300",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
    )


def _one(events: Events) -> gr.Image:
    with gr.Column(min_width=300):
        photo = gr.Image(
            sources=["upload", "webcam", "clipboard"],
            show_label=False,
            placeholder="Drop or paste a photo here\nor click to choose one",
            alt_text="Your photo",
            buttons=[],
            elem_id="photo",
        )
        gr.Examples([str(path) for path in EXAMPLES], photo, label="Or try one of these", elem_id="examples")
    with gr.Column(min_width=300):
        heading = gr.HTML(wording.NOTHING_YET, elem_id="answer")
        bars = gr.Label(show_label=False, show_heading=False, visible=False, elem_id="bars")
        with gr.Group(visible=False, elem_id="why") as why:
            heatmap = gr.HTML(elem_id="heatmap")
            overlay = gr.Slider(
                0, 100, OVERLAY_PERCENT, step=5, label="Heatmap strength", buttons=[], elem_id="overlay"
            )
    shown = gr.State({})
    photo.change(events.classify, photo, [heading, bars, why, heatmap, shown], **AS_SENT).then(None, js=SHOW_ANSWER)
    bars.select(events.explain, [photo, shown], heatmap, **AS_SENT)
    overlay.input(None, overlay, js=SET_OVERLAY)
    return photo


def _several(events: Events, tabs: gr.Tabs, photo: gr.Image) -> None:
    files = gr.File(label="Photos", file_count="multiple", elem_id="photos")
    problems = gr.HTML(elem_id="problems")
    gallery = gr.Gallery(
        show_label=False,
        columns=4,
        fit_columns=False,
        height="auto",
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        visible=False,
        elem_id="gallery",
    )
    good = gr.State([])

    def open_one(files: list[str], chosen: gr.SelectData) -> tuple[gr.Tabs, str]:
        return gr.Tabs(selected="one"), files[chosen.index]

    files.change(events.classify_all, files, [problems, gallery, good], **EVENT)
    gallery.select(open_one, good, [tabs, photo], **EVENT)
