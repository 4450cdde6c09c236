"""What a file is, by its first bytes: a checkpoint that can be read, or one of the files that people give instead."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Literal

from densenet_serving.errors import WeightsError

Format = Literal["safetensors", "torch"]

FIRST_BYTES = 512
EXPORT = "where the model was trained, save model.state_dict() with torch.save and give that file"
AGAIN = "fetch or save it again"
UNPACK = "unpack it and give the checkpoint inside"

# The length of a header of JSON, eight bytes of which the last are zero, and the header.
SAFETENSORS = re.compile(rb".{5}\0\0\0\{", re.DOTALL)
# What torch.save writes since 1.6 is a zip file; before, it began with this pickled number.
LEGACY_TORCH = re.compile(rb"\x80.\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)

# The first bytes of files that are no checkpoint of PyTorch, what each file is, and what to do.
OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (rb"\Z", "is empty", AGAIN),
    (
        rb"version https://git-lfs",
        "is a Git LFS pointer and not the file itself",
        "run git lfs pull where it came from",
    ),
    (
        rb"(?i:\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body))",
        "is a web page (HTML), such as a login or an error page",
        "download the file itself, signed in if its site asks for that",
    ),
    (rb"(\xef\xbb\xbf)?\s*<", "is XML and not a checkpoint", AGAIN),
    (rb"\s*[{\[]\s*[\"{\[\]}]", "is JSON and not a checkpoint", "give the file with the weights"),
    (rb"\x89HDF\r\n\x1a\n", "is an HDF5 file, as Keras writes it", f"Keras models cannot be served: {EXPORT}"),
    (rb"....TFL3", "is a TensorFlow Lite model", f"it cannot be served: {EXPORT}"),
    (rb"\x08\x01\x12", "is a TensorFlow SavedModel", f"it cannot be served: {EXPORT}"),
    (
        rb"\x08[\x02-\x20](\x12[\x01-\x40][ -~]+|[\x1a\x22\x2a\x32\x3a\x42])",
        "is an ONNX model",
        f"it holds a program and not a state_dict: {EXPORT}",
    ),
    (rb"GGUF", "is a GGUF file", f"it cannot be served: {EXPORT}"),
    (rb"\x93NUMPY", "is a NumPy array", EXPORT),
    (rb"\x1f\x8b", "is a gzip file", UNPACK),
    (rb"BZh[1-9]|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf\x27\x1c|Rar!", "is a compressed file", UNPACK),
    (rb".{257}ustar", "is a tar file", UNPACK),
    (rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF", "is a picture or another medium", "give the file with the weights"),
    (rb"%PDF", "is a PDF document", "give the file with the weights"),
    (rb"\x7fELF|MZ", "is a program", "give the file with the weights"),
    (rb"\x80[\x02-\x05]", "is a pickle that torch.save did not write, and loading it would run code", EXPORT),
)
# The same for the members of a zip file; a checkpoint of PyTorch is one with a data.pkl.
MEMBERS: tuple[tuple[str, str, str], ...] = (
    (
        r"[^/]+/code/|[^/]+/constants\.pkl$",
        "is a TorchScript program and not a checkpoint",
        "save torch.jit.load({name!r}).state_dict() with torch.save and give that file",
    ),
    (
        r"(.*/)?(models/[^/]+\.json|serialized_exported_program\.json|archive_format)$",
        "is a program of torch.export (.pt2) and not a checkpoint",
        "save torch.export.load({name!r}).state_dict with torch.save and give that file",
    ),
    (r"MAR-INF/", "is an archive for TorchServe and not a checkpoint", "copy it into model_store/ to serve it"),
    (r".*\.(weights\.h5|h5|keras)$", "is a Keras model", f"it cannot be served: {EXPORT}"),
    (r".*saved_model\.pb$", "is a TensorFlow SavedModel", f"it cannot be served: {EXPORT}"),
    (r".*\.npy$", "is a NumPy file (.npz)", EXPORT),
)
TORCH_MEMBER = r"([^/]+/)?data\.pkl$"


def identify(path: Path) -> Format:
    """Tell how to read a checkpoint, whatever its name is. Raises WeightsError, which says what else the file is."""
    if path.is_dir():
        raise WeightsError(_refusal(path, *_folder(path)))
    try:
        with path.open("rb") as file:
            first = file.read(FIRST_BYTES)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}): give a checkpoint.") from error
    if SAFETENSORS.match(first):
        return "safetensors"
    if LEGACY_TORCH.match(first):
        return "torch"
    if first.startswith(b"PK"):
        return _identify_zip(path)
    for pattern, what, remedy in OTHERS:
        if re.match(pattern, first, re.DOTALL):
            raise WeightsError(_refusal(path, what, remedy))
    raise WeightsError(_refusal(path, "is damaged or no checkpoint", AGAIN))


def is_checkpoint(path: Path) -> bool:
    """Say whether `identify` knows how to read a file."""
    try:
        identify(path)
    except WeightsError:
        return False
    return True


def _identify_zip(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise WeightsError(_refusal(path, "is damaged or no checkpoint (its end is missing)", AGAIN)) from error
    for pattern, what, remedy in MEMBERS:
        if any(re.match(pattern, name) for name in names):
            raise WeightsError(_refusal(path, what, remedy.format(name=path.name)))
    if any(re.match(TORCH_MEMBER, name) for name in names):
        return "torch"
    some = ", ".join(names[:3]) or "nothing"
    raise WeightsError(_refusal(path, f"is a zip file and not a checkpoint of PyTorch (it holds {some})", UNPACK))


def _folder(path: Path) -> tuple[str, str]:
    """Say what is in a folder, for the two functions above."""
    if (path / "saved_model.pb").is_file():
        return "is a TensorFlow SavedModel", f"it cannot be served: {EXPORT}"
    if (path / "data.pkl").is_file():
        return "is an unpacked checkpoint", "give the file that it was unpacked from"
    found = sorted(file.name for file in path.iterdir() if file.is_file() and is_checkpoint(file))
    return "is a folder", f"give a checkpoint in it ({', '.join(found[:3])})" if found else "give a checkpoint"


def _refusal(path: Path, what: str, remedy: str) -> str:
    return f"{path} {what}: {remedy}."
