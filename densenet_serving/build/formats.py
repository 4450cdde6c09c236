"""What a file is, by its first bytes: a checkpoint and what reads it, or one of the files that people give instead."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from densenet_serving.errors import WeightsError

Loaded = tuple[Mapping[Any, Any], list[str]]  # a file's content, and the names of classes in it that were not loaded

FIRST_BYTES = 512
DAMAGED = "is damaged or no checkpoint: fetch or save it again"
EXPORT = "where the model was trained, save model.state_dict() with torch.save and give that file"
UNPACK = "unpack it and give the checkpoint inside"


class Format(NamedTuple):
    """A kind of checkpoint: a regular expression of its first bytes, and a function that raises WeightsError."""

    begins: bytes
    load: Callable[[Path], Loaded]


def load_safetensors(path: Path) -> Loaded:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path), []
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} {DAMAGED}.") from error


def load_torch(path: Path) -> Loaded:
    from densenet_serving.build import pickles  # torch takes seconds to import

    return pickles.load(path)


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
