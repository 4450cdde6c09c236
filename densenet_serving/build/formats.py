"""What a file is, by its first bytes: a checkpoint and what reads it, or one of the files that people give instead.

Nothing in a file is run: of what programs put beside the tensors, only what may name the classes is loaded.
"""

from __future__ import annotations

import argparse
import pickle
import re
import sys
import types
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from densenet_serving.errors import WeightsError

Loaded = tuple[Mapping[Any, Any], list[str]]  # a file's content, and the names of classes in it that were not loaded

FIRST_BYTES = 512
DAMAGED = "is damaged or no checkpoint: fetch or save it again"
EXPORT = "where the model was trained, save model.state_dict() with torch.save and give that file"
UNPACK = "unpack it and give the checkpoint inside"
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


def load_torch(path: Path) -> Loaded:
    """Return what torch.save wrote, without running code: classes that are not loaded get a StandIn.

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
                raise pickled(path, *stand_ins) from error
            name = found[1] if "." in found[1] else f"builtins.{found[1]}"
            if name in stand_ins or len(stand_ins) == MOST_CLASSES or _may_run(name):
                raise pickled(path, name) from error
            stand_ins[name] = type("StandIn", (StandIn,), {})
        # torch.load raises many kinds of exceptions for bytes that are no checkpoint: RuntimeError, KeyError, ...
        except Exception as error:
            raise WeightsError(f"{path} {DAMAGED}.") from error
    if isinstance(content, StandIn):
        raise pickled(path, *stand_ins)
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no state_dict: save model.state_dict() and give that.")
    return content, [name for name in stand_ins if not HARMLESS.fullmatch(name)]


def pickled(path: Path, *names: str) -> WeightsError:
    """Say that a file holds objects of classes where tensors are needed."""
    own = [name for name in names if not HARMLESS.fullmatch(name)]
    if not own:
        return WeightsError(f"{path} {DAMAGED}.")
    return WeightsError(
        f"{path} holds pickled objects and not only tensors ({own[0]}), and loading them would run code: {EXPORT}."
    )


def _may_run(name: str) -> bool:
    """Say whether a name is one of Python's own library that is not known to be harmless."""
    own = {*sys.stdlib_module_names, "nt", "posix"} - {"__main__"}
    return name.partition(".")[0] in own and not HARMLESS.fullmatch(name)


class Format(NamedTuple):
    """A kind of checkpoint: a regular expression of its first bytes, and a function that raises WeightsError."""

    begins: bytes
    load: Callable[[Path], Loaded]


def load_safetensors(path: Path) -> Loaded:
    try:
        return load_file(path), []
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} {DAMAGED}.") from error


SAFETENSORS = Format(rb".{5}\0\0\0\{", load_safetensors)  # eight bytes of the header's length, and it is JSON
FORMATS = (
    SAFETENSORS,
    Format(rb"PK", load_torch),  # a zip file with a data.pkl, as torch.save writes since 1.6
    Format(rb"\x80.\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.", load_torch),  # before, it began with this pickled number
)
# The first bytes of other files, and what to say of them.
OTHERS = (
    (rb"version https://git-lfs", "is a Git LFS pointer and not the file itself: run git lfs pull where it came from"),
    (
        rb"(?i:\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body))",
        "is a web page (HTML): download the file itself, signed in if its site asks for that",
    ),
    (
        rb"(\xef\xbb\xbf)?\s*(<|[{\[]\s*[\"{\[\]}])",
        "is XML or JSON: give the file with the weights",
    ),
    (rb"\x89HDF\r\n\x1a\n", f"is an HDF5 file, as Keras writes it, and cannot be served: {EXPORT}"),
    (rb"....TFL3|\x08\x01\x12|GGUF", f"is a TensorFlow or GGUF model and cannot be served: {EXPORT}"),
    (rb"\x08[\x02-\x20](\x12[\x01-\x40][ -~]+|[\x1a\x22\x2a\x32\x3a\x42])", f"is an ONNX model: {EXPORT}"),
    (rb"\x93NUMPY", f"is a NumPy array: {EXPORT}"),
    (rb"\x1f\x8b|BZh[1-9]|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!|.{257}ustar", f"is a packed file: {UNPACK}"),
    (rb"\x80[\x02-\x05]", f"is a pickle that torch.save did not write, and loading it would run code: {EXPORT}"),
)
# The same for the members of a zip file, one after the other.
MEMBERS = (
    (
        r"[^/]+/(code/|constants\.pkl$)",
        "is a TorchScript program: save torch.jit.load({name!r}).state_dict() with torch.save and give that file",
    ),
    (
        r"(.*/)?(models/[^/]+\.json|serialized_exported_program\.json|archive_format)$",
        "is a program of torch.export (.pt2): save torch.export.load({name!r}).state_dict with torch.save",
    ),
    (r"MAR-INF/", "is an archive for TorchServe and not a checkpoint: copy it into model_store/ to serve it"),
    (r".*(\.h5|\.keras|saved_model\.pb)$", f"is a Keras or TensorFlow model and cannot be served: {EXPORT}"),
    (r".*\.npy$", f"is a NumPy file (.npz): {EXPORT}"),
)
CHECKPOINT_MEMBER = r"([^/]+/)?data\.pkl$"


def identify(path: Path) -> Format:
    """Tell the format of a checkpoint, whatever its name is. Raises WeightsError, which says what else the file is."""
    if path.is_dir():
        found = sorted(file.name for file in path.iterdir() if file.is_file() and is_checkpoint(file))
        raise WeightsError(f"{path} is a folder: {f'give a checkpoint in it ({found[0]})' if found else EXPORT}.")
    try:
        with path.open("rb") as file:
            first = file.read(FIRST_BYTES)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}): give a checkpoint.") from error
    if first.startswith(b"PK"):
        _check_members(path)
    for form in FORMATS:
        if re.match(form.begins, first, re.DOTALL):
            return form
    said = next((said for begins, said in OTHERS if re.match(begins, first, re.DOTALL)), DAMAGED)
    raise WeightsError(f"{path} {said}.")


def is_checkpoint(path: Path) -> bool:
    """Say whether `identify` knows how to read a file."""
    try:
        return bool(identify(path))
    except WeightsError:
        return False


def _check_members(path: Path) -> None:
    """Raise WeightsError if a zip file is none of torch.save's."""
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise WeightsError(f"{path} {DAMAGED}.") from error
    for pattern, said in MEMBERS:
        if any(re.match(pattern, name) for name in names):
            raise WeightsError(f"{path} {said.format(name=path.name)}.")
    if not any(re.match(CHECKPOINT_MEMBER, name) for name in names):
        raise WeightsError(f"{path} is a zip file and not a checkpoint of PyTorch: {UNPACK}.")
