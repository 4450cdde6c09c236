"""An exported graph is JSON and tensors: a file that holds anything else is refused before torch opens it."""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from pathlib import Path

import torch

from handler.errors import ArchiveError

# What torch.export.save writes (torch.export.pt2_archive.constants, 2.13), less the forms that hold code or pickles:
# compiled models, custom and opaque objects, and the layout of torch 2.7, which is pickled whole.
MEMBERS = re.compile(
    r"[^/]+/(archive_format|archive_version|version|byteorder|\.data/\w+|models/model\.json|data/sample_inputs/model\.pt"
    r"|data/(weights|constants)/(model_(weights|constants)_config\.json|weight_\d+|tensor_\d+))"
)


def refuse_pickles(path: Path) -> None:
    """Raise ArchiveError if `torch.export.load` would unpickle, or load machine code, from this file."""
    with zipfile.ZipFile(path) as file:
        for name in file.namelist():
            if not MEMBERS.fullmatch(name):
                raise ArchiveError(f"{path.name} holds {name}, which an exported graph has no use for: build it again.")
            if name.endswith("_config.json"):
                payloads = json.loads(file.read(name))["config"]
                # torch decides by the name's beginning as well as by the flag.
                if any(p["use_pickle"] or not re.match("weight_|tensor_", p["path_name"]) for p in payloads.values()):
                    raise ArchiveError(f"{path.name} holds a pickled object in {name}: build the archive again.")
            if name.endswith(".pt"):
                _read_tensors(path, file.read(name))


def _read_tensors(path: Path, content: bytes) -> None:
    """Read the example input as torch does at first; if that fails, torch would unpickle it."""
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except pickle.UnpicklingError as error:
        raise ArchiveError(f"{path.name} holds a pickled object as its example input: build it again.") from error
