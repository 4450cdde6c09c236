"""The parameters of a request: their names, their values, and the defaults."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from handler.errors import BadRequest
from handler.labels import Labels
from handler.settings import Settings

OVERLAY = 0.5


@dataclass(frozen=True)
class Parameters:
    """What a client may choose for one request."""

    top_k: int
    min_probability: float
    class_index: int | None = None  # of the class to explain; None for each image's best
    overlay: float = OVERLAY  # share of the colors, 0 to 1


# The names that each operation knows.
PREDICTION = ("top_k", "min_probability")
EXPLANATION = (*PREDICTION, "class_id", "overlay")


def parameter_name(name: str) -> str | None:
    """Recognize a parameter of any operation in any spelling: top_k, Top-K, TOP_K."""
    plain = name.lower().replace("-", "_")
    return plain if plain in (*PREDICTION, *EXPLANATION) else None


def in_headers(headers: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, str]:
    """Find the known parameters among a request's headers, whose values are percent-encoded outside ASCII.

    A value that is a mapping is a form part's own headers.
    """
    texts = ((name, value) for name, value in headers.items() if isinstance(value, str))
    return {name: unquote(value) for name, value in texts if parameter_name(name) in known}


def check_names(given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Raises BadRequest if a parameter is not known here, such as a misspelled one."""
    unknown = sorted(str(name) for name in given if parameter_name(name) not in known)
    if unknown:
        raise BadRequest(
            f"Unknown parameter {_cut(', '.join(unknown))}: predictions take {', '.join(PREDICTION)}; "
            f"explanations take {', '.join(EXPLANATION)}."
        )


def choose(given: Mapping[str, Any], settings: Settings, labels: Labels) -> Parameters:
    """Check the parameters given and add the defaults; if one is given twice, the last counts. Raises BadRequest."""
    chosen = Parameters(min(settings.top_k, len(labels)), settings.threshold(len(labels), labels.task))
    for name, value in given.items():
        text = value.decode(errors="replace") if isinstance(value, bytes | bytearray) else value
        match parameter_name(name):
            case "top_k":
                chosen = replace(chosen, top_k=_top_k(text, len(labels)))
            case "class_id":
                chosen = replace(chosen, class_index=_class_index(str(text), labels))
            case "min_probability":
                chosen = replace(chosen, min_probability=_share("min_probability", text))
            case "overlay":
                chosen = replace(chosen, overlay=_share("overlay", text))
    return chosen


def _top_k(value: Any, classes: int) -> int:
    """Read how many classes to list. A model with fewer lists all it has, so one client can ask models of any size."""
    expected = f"top_k must be a whole number of at least 1; it is {shown(value)}."
    if isinstance(value, bool | float):
        raise BadRequest(expected)
    try:
        top_k = int(value)
    except (TypeError, ValueError) as error:
        raise BadRequest(expected) from error
    if top_k < 1:
        raise BadRequest(expected)
    return min(top_k, classes)


def _class_index(class_id: str, labels: Labels) -> int:
    index = labels.index(class_id)
    if index is None:
        raise BadRequest(f"The model has no class {shown(class_id)}: class_id is one such as {labels[0][0]}.")
    return index


def _share(name: str, value: Any) -> float:
    expected = f"{name} must be a number from 0 to 1; it is {shown(value)}."
    if isinstance(value, bool):
        raise BadRequest(expected)
    try:
        share = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRequest(expected) from error
    if not 0 <= share <= 1:  # also refuses nan
        raise BadRequest(expected)
    return share


def shown(value: Any) -> str:
    """Quote a client's value in a message; reprlib, unlike repr, does not follow a nested one to its end."""
    return _cut(reprlib.repr(value))


def _cut(text: str) -> str:
    """Shorten a client's words to a length a person reads."""
    return text if len(text) <= 40 else f"{text[:37]}..."
