"""Read what torch.save wrote without running code: tensors, and the harmless objects that programs put beside them."""

from __future__ import annotations

import argparse
import datetime
import decimal
import pathlib
import pickle
import re
import sys
import types
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from densenet_serving.errors import WeightsError

Allowed = Callable[..., Any] | tuple[Callable[..., Any], str]

MOST_CLASSES = 100  # of the training program in one file
# Windows' paths cannot be made elsewhere; Python 3.13 keeps all of them in another module.
PATHS: tuple[Allowed, ...] = tuple(
    (pathlib.PureWindowsPath if "Windows" in name else pathlib.PurePosixPath, f"{module}.{name}")
    for module in ("pathlib", "pathlib._local")
    for name in ("PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
)
# NumPy 1 and 2 name the same functions differently.
NUMPY: tuple[Allowed, ...] = (
    np.ndarray,
    np.dtype,
    *(value for value in vars(np.dtypes).values() if isinstance(value, type)),
    *(
        (cast(Callable[..., Any], made.__reduce__()[0]), f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name, made in (("scalar", np.float64(0)), ("_reconstruct", np.empty(0)))
    ),
)
# torch.load fills dictionaries and lists of the plain kinds only.
COLLECTIONS: tuple[Allowed, ...] = (
    (lambda *_: {}, "collections.defaultdict"),
    (lambda *_: [], "collections.deque"),
)
# These build values and do nothing else, whatever they are called with.
HARMLESS: tuple[Allowed, ...] = (
    *PATHS,
    *NUMPY,
    *COLLECTIONS,
    *((kind, f"builtins.{kind.__name__}") for kind in (int, float, str, list, tuple, dict, frozenset, range)),
    argparse.Namespace,
    types.SimpleNamespace,
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    decimal.Decimal,
    uuid.UUID,
)


class StandIn(dict[Any, Any]):
    """Takes the place of an object whose class is the training program's own, such as an enum or a configuration.

    The class itself is never imported, so nothing of it can run.
    """

    def __init__(self, *_args: Any, **_named: Any) -> None:
        super().__init__()

    def __setstate__(self, _state: Any) -> None: ...

    def __hash__(self) -> int:  # type: ignore[override]  # enums are keys too
        return id(self)


def load(path: Path) -> tuple[Any, list[str]]:
    """Return a file's content, and the names of the classes that a StandIn took the place of.

    Raises WeightsError for a damaged file, and for one that asks for a function of Python's own library: no training
    program has one there unless it is meant to run.
    """
    stand_ins: dict[str, type[StandIn]] = {}
    while True:
        allowed = [*HARMLESS, *((kind, name) for name, kind in stand_ins.items())]
        try:
            with torch.serialization.safe_globals(allowed):
                return torch.load(path, map_location="cpu", weights_only=True), list(stand_ins)
        except pickle.UnpicklingError as error:
            name = _asked_for(str(error))
            if name is None or name in stand_ins or len(stand_ins) == MOST_CLASSES or _is_pythons(name):
                raise WeightsError(refusal(path, [name] if name else list(stand_ins))) from error
            stand_ins[name] = type("StandIn", (StandIn,), {})
        # torch.load raises many kinds of exceptions for bytes that are no checkpoint: RuntimeError, KeyError, ...
        except Exception as error:
            raise WeightsError(f"{path} is damaged or no checkpoint: fetch or save it again.") from error


def refusal(path: Path, names: list[str]) -> str:
    """Say that a file holds objects of these classes where tensors are needed."""
    remedy = "where the model was trained, save model.state_dict() with torch.save and give that file."
    if not names:
        return f"{path} holds pickled objects and not only tensors, or is damaged: {remedy}"
    return f"{path} holds pickled objects and not only tensors ({names[0]}), and loading them would run code: {remedy}"


def _asked_for(error: str) -> str | None:
    """Return the name that torch.load refused. It leaves out `builtins.`."""
    found = re.search(r"GLOBAL (\S+)", error)
    if not found:
        return None
    return found[1] if "." in found[1] else f"builtins.{found[1]}"


def _is_pythons(name: str) -> bool:
    return name.partition(".")[0] in {*sys.stdlib_module_names, "nt", "posix"} - {"__main__"}
