"""TorchServe's answers in the words, and the HTML, that a person meets on the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

NOTHING_YET = "<p class='hint'>What the model sees in your photo appears here.</p>"
NOT_SURE = "Not sure"
CLOSEST = "Nothing that the model knows fits this photo well. These come closest; a closer or sharper view may help."

Prediction = Mapping[str, Any]


def readable(class_name: str) -> str:
    """Egyptian_cat as Egyptian cat."""
    return class_name.replace("_", " ")


def percent(probability: float) -> str:
    return f"{100 * probability:.0f}%"


def heading(answer: Mapping[str, Any]) -> str:
    """What is in the photo."""
    if answer["recognized"]:
        return f"<h2>{escape(readable(answer['class_name']))}</h2>"
    return f"<h2>{NOT_SURE}</h2><p>{CLOSEST}</p>"


def caption(answer: Mapping[str, Any]) -> str:
    """What is in the photo, on one line."""
    if answer["recognized"]:
        return f"{readable(answer['class_name'])}, {percent(answer['probability'])}"
    return NOT_SURE


def bars(predictions: list[Prediction]) -> dict[str, Prediction]:
    """Map what stands beside each bar to its prediction, best first.

    Two classes may share a name, a crane is a bird and a machine: theirs get the class id.
    """
    uses = Counter(p["class_name"] for p in predictions)
    ids = {p["class_id"]: f" ({p['class_id']})" if uses[p["class_name"]] > 1 else "" for p in predictions}
    return {readable(p["class_name"]) + ids[p["class_id"]]: p for p in predictions}


def heatmap(photo: str, colours: str, class_name: str) -> str:
    """The colours over the photo; the CSS variable --overlay says how strongly.

    `photo` and `colours` are base64 PNGs of one size.
    """
    name = escape(readable(class_name))
    return (
        f"<figure><div class='layers'><img src='data:image/png;base64,{photo}' alt='The part that the model looks at'>"
        f"<img class='colours' src='data:image/png;base64,{colours}' alt='Heatmap over it'></div>"
        f"<figcaption>Bright is what speaks for <strong>{name}</strong>. "
        "Choose another bar to see what speaks for that.</figcaption></figure>"
    )


def problem(error: Mapping[str, Any], file: str = "") -> str:
    """An error in the server's own words, as a screen reader speaks it at once."""
    return f"<p class='problem' role='alert'>{escape(f'{file}: ' if file else '')}{escape(error['message'])}</p>"
