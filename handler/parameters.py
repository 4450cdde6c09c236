"""The parameters of a request: one table, from which everything that takes or names them derives.

Headers, forms, queries and JSON are read by it in the worker, and the gateway's form and OpenAPI, the options of
commands and the documents take names, ranges and descriptions from it.
"""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote

from handler.errors import BadRequest

Operation = Literal["predictions", "explanations"]
OVERLAY = 0.5


@dataclass(frozen=True)
class Parameter:
    """`type` is int, float or str; a number is of `least` to `most`, where those are not None."""

    name: str
    type: type[int] | type[float] | type[str]
    help: str
    operations: tuple[Operation, ...]
    least: int | None = None
    most: int | None = None

    @property
    def header(self) -> str:
        """The name as a header: Top-K."""
        return self.name.replace("_", "-").title()

    def read(self, value: Any) -> Any:
        """Return a client's value, a text or one of JSON, as `type`. Raises BadRequest if it cannot be."""
        text = value.decode(errors="replace") if isinstance(value, bytes | bytearray) else value
        if self.type is str:
            return str(text)
        try:
            if isinstance(text, bool) or (self.type is int and isinstance(text, float)):
                raise TypeError
            number = self.type(text)
        except (TypeError, ValueError, OverflowError) as error:
            raise self._refusal(text) from error
        too_little = self.least is not None and not number >= self.least  # also refuses nan
        if too_little or (self.most is not None and not number <= self.most):
            raise self._refusal(text)
        return number

    def _refusal(self, value: Any) -> BadRequest:
        kind = "whole number" if self.type is int else "number"
        bounds = f"of at least {self.least}" if self.most is None else f"from {self.least} to {self.most}"
        return BadRequest(f"{self.name} must be a {kind} {bounds}; it is {shown(value)}.")


TABLE = (
    Parameter("top_k", int, "How many classes to list, best first.", ("predictions", "explanations"), 1),
    Parameter(
        "min_probability",
        float,
        "An image whose best class is less probable is not recognized.",
        ("predictions", "explanations"),
        0,
        1,
    ),
    Parameter("class_id", str, "The class to explain; by default the best one.", ("explanations",)),
    Parameter(
        "overlay",
        float,
        f"The share of the colors: 0 shows the image alone, 1 the colors alone, by default {OVERLAY}.",
        ("explanations",),
        0,
        1,
    ),
)
PARAMETERS = {one.name: one for one in TABLE}


def names_of(operation: Operation) -> tuple[str, ...]:
    """Name the parameters that an operation takes."""
    return tuple(one.name for one in TABLE if operation in one.operations)


def parameter_name(name: str) -> str | None:
    """Recognize a parameter of any operation in any spelling: top_k, Top-K, TOP_K."""
    plain = name.lower().replace("-", "_")
    return plain if plain in PARAMETERS else None


def in_headers(headers: Mapping[str, Any], operation: Operation) -> dict[str, str]:
    """Find an operation's parameters in a request's headers, percent-encoded where they are outside ASCII.

    A value that is a mapping is a form part's own headers.
    """
    known = names_of(operation)
    texts = ((name, value) for name, value in headers.items() if isinstance(value, str))
    return {name: unquote(value) for name, value in texts if parameter_name(name) in known}


def read_all(given: Mapping[str, Any], operation: Operation) -> dict[str, Any]:
    """Check all parameters of a request, and name them plainly; if one is given twice, the last counts.

    Raises BadRequest for a value that cannot be, and for a name that the operation does not know, as a misspelled one.
    """
    check_names(given, operation)
    return {name: PARAMETERS[name].read(value) for key, value in given.items() if (name := parameter_name(key))}


def check_names(given: Collection[str], operation: Operation) -> None:
    """Raises BadRequest if a parameter is not one of the operation."""
    known = names_of(operation)
    unknown = sorted(str(name) for name in given if parameter_name(name) not in known)
    if unknown:
        raise BadRequest(
            f"Unknown parameter {_cut(', '.join(unknown))}: predictions take {', '.join(names_of('predictions'))}; "
            f"explanations take {', '.join(names_of('explanations'))}."
        )


def shown(value: Any) -> str:
    """Quote a client's value in a message; reprlib, unlike repr, does not follow a nested one to its end."""
    return _cut(reprlib.repr(value))


def _cut(text: str) -> str:
    """Shorten a client's words to a length a person reads."""
    return text if len(text) <= 40 else f"{text[:37]}..."
