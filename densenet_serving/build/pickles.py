"""Read what torch.save wrote without running code: tensors, and the harmless objects that programs put beside them."""

from __future__ import annotations

import argparse
import pickle
import re
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from densenet_serving.build.formats import DAMAGED, EXPORT
from densenet_serving.errors import WeightsError

MOST_CLASSES = 100  # of the training program in one file
# What may name the classes. These build values and do nothing else; a pair has the name that files give them.
VALUES: tuple[Any, ...] = (
    argparse.Namespace,
    types.SimpleNamespace,
    # torch.load fills dictionaries and lists of the plain kinds only.
    (lambda *_: {}, "collections.defaultdict"),
    (lambda *_: [], "collections.deque"),
    np.ndarray,
    np.dtype,
    *(value for value in vars(np.dtypes).values() if isinstance(value, type)),
    # NumPy 1 and 2 name the same functions differently.
    *(
        (made.__reduce__()[0], f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name, made in (("scalar", np.float64(0)), ("_reconstruct", np.empty(0)))
    ),
)
# What Python's own library has that programs save beside the tensors, and that nobody asks for here.
HARMLESS = re.compile(
    r"builtins\.(int|float|str|bytes|list|tuple|dict|set|frozenset|range)|datetime\.\w+|decimal\.Decimal|uuid\.UUID"
    r"|pathlib(\._local)?\.\w*Path"
)


class StandIn(dict[Any, Any]):
    """Takes the place of an object whose class is harmless or the training program's own, such as an enum.

    The class itself is never imported, so nothing of it can run.
    """

    def __init__(self, *_args: Any, **_named: Any) -> None:
        super().__init__()

    def __setstate__(self, _state: Any) -> None: ...

    def __hash__(self) -> int:  # type: ignore[override]  # enums are keys too
        return id(self)


def load(path: Path) -> tuple[Mapping[Any, Any], list[str]]:
    """Return the dictionary in a file, and the names of the program's classes that a StandIn took the place of.

    Raises WeightsError for a damaged file, for one that holds something else, and for one that asks for a function of
    Python's own library: no training program has one there unless it is meant to run.
    """
    stand_ins: dict[str, type[StandIn]] = {}
    while True:
        allowed = [*VALUES, *((kind, name) for name, kind in stand_ins.items())]
        try:
            with torch.serialization.safe_globals(allowed):
                content = torch.load(path, map_location="cpu", weights_only=True)
            break
        except pickle.UnpicklingError as error:
            found = re.search(r"GLOBAL (\S+)", str(error))
            if not found:
                raise refusal(path, *stand_ins) from error
            name = found[1] if "." in found[1] else f"builtins.{found[1]}"
            if name in stand_ins or len(stand_ins) == MOST_CLASSES or _may_run(name):
                raise refusal(path, name) from error
            stand_ins[name] = type("StandIn", (StandIn,), {})
        # torch.load raises many kinds of exceptions for bytes that are no checkpoint: RuntimeError, KeyError, ...
        except Exception as error:
            raise WeightsError(f"{path} {DAMAGED}.") from error
    if isinstance(content, StandIn):
        raise refusal(path, *stand_ins)
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no state_dict: save model.state_dict() and give that.")
    return content, [name for name in stand_ins if not HARMLESS.fullmatch(name)]


def refusal(path: Path, *names: str) -> WeightsError:
    """Say that a file holds objects of classes where tensors are needed."""
    if not names:
        return WeightsError(f"{path} {DAMAGED}.")
    return WeightsError(
        f"{path} holds pickled objects and not only tensors ({names[0]}), and loading them would run code: {EXPORT}."
    )


def _may_run(name: str) -> bool:
    """Say whether a name is one of Python's own library that is not known to be harmless."""
    own = {*sys.stdlib_module_names, "nt", "posix"} - {"__main__"}
    return name.partition(".")[0] in own and not HARMLESS.fullmatch(name)
