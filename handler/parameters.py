"""The parameters of a request: one table, from which everything that takes or names them derives.

Headers, forms, queries and JSON are read by it in the worker, and the gateway's form and OpenAPI, the options of
commands and the documents take names, ranges and descriptions from it.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from handler.errors import BadRequest

OVERLAY = 0.5


@dataclass(frozen=True)
class Parameter:
    """`type` is int, float or str; a number is at least `least`, and at most `most` where that is not None."""

    name: str
    type: type[int] | type[float] | type[str]
    help: str
    predicts: bool = True  # whether predictions take it; explanations take all
    least: int = 0
    most: int | None = None

    def read(self, value: Any) -> Any:
        """Return a client's value, a text or one of JSON, as `type`. Raises BadRequest if it cannot be."""
        text = value.decode(errors="replace") if isinstance(value, bytes | bytearray) else value
        if self.type is str:
            return str(text)
        try:
            if isinstance(text, bool) or (self.type is int and isinstance(text, float)):
                raise TypeError
            number = int(text) if self.type is int else float(text)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._refusal(text) from error
        if not number >= self.least or (self.most is not None and number > self.most):  # refuses nan too
            raise self._refusal(text)
        return number

    def _refusal(self, value: Any) -> BadRequest:
        kind = "whole number" if self.type is int else "number"
        bounds = f"of at least {self.least}" if self.most is None else f"from {self.least} to {self.most}"
        return BadRequest(f"{self.name} must be a {kind} {bounds}; it is {shown(value)}.")

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of a value."""
        if self.type is str:
            return {"type": "string", "description": self.help}
        bounds = {"minimum": self.least} | ({} if self.most is None else {"maximum": self.most})
        return {"type": "integer" if self.type is int else "number", **bounds, "description": self.help}


TABLE = (
    Parameter("top_k", int, "How many classes to list, best first.", least=1),
    Parameter("min_probability", float, "An image whose best class is less probable is not recognized.", most=1),
    Parameter("class_id", str, "The class to explain; by default the best one.", predicts=False),
    Parameter("overlay", float, "The share of color: 0 shows the image alone, 1 the colors alone.", False, most=1),
)
PARAMETERS = {one.name: one for one in TABLE}

# The names that each operation knows.
PREDICTION = tuple(one.name for one in TABLE if one.predicts)
EXPLANATION = tuple(PARAMETERS)


def parameter_name(name: str) -> str | None:
    """Recognize a parameter of any operation in any spelling: top_k, Top-K, TOP_K."""
    plain = name.lower().replace("-", "_")
    return plain if plain in PARAMETERS else None


def in_headers(headers: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, str]:
    """Find the known parameters among a request's headers, whose values are percent-encoded outside ASCII.

    A value that is a mapping is a form part's own headers.
    """
    texts = ((name, value) for name, value in headers.items() if isinstance(value, str))
    return {name: unquote(value) for name, value in texts if parameter_name(name) in known}


def check_names(given: Iterable[str], known: tuple[str, ...]) -> None:
    """Raises BadRequest if a parameter is not known here, such as a misspelled one."""
    unknown = sorted(str(name) for name in given if parameter_name(name) not in known)
    if unknown:
        raise BadRequest(
            f"Unknown parameter {_cut(', '.join(unknown))}: predictions take {', '.join(PREDICTION)}; "
            f"explanations take {', '.join(EXPLANATION)}."
        )


def read_all(given: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """Check all parameters of a request, and name them plainly; if one is given twice, the last counts.

    Raises BadRequest for a value that cannot be, and for a name that is not known.
    """
    check_names(given, known)
    return {name: PARAMETERS[name].read(value) for key, value in given.items() if (name := parameter_name(key))}


def shown(value: Any) -> str:
    """Quote a client's value in a message; reprlib, unlike repr, does not follow a nested one to its end."""
    return _cut(reprlib.repr(value))


def _cut(text: str) -> str:
    """Shorten a client's words to a length a person reads."""
    return text if len(text) <= 40 else f"{text[:37]}..."
