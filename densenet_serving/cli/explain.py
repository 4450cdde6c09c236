"""Show which part of an image an answer rests on."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from densenet_client import NO_OVERLAY
from densenet_serving import paths
from densenet_serving.client import sources
from densenet_serving.client.served import find_server
from densenet_serving.console import note
from densenet_serving.errors import CommandError
from densenet_serving.files import atomic_write
from densenet_serving.options import ClassId, Key, Model, Overlay, RunDir, Token, Url


def explain(
    image: Annotated[str, typer.Argument(help="A file, a URL, or - for standard input.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG file to write.")],
    class_id: ClassId = None,
    overlay: Overlay = None,
    model: Model = None,
    url: Url = None,
    key: Key = None,
    token: Token = None,
    run_dir: RunDir = paths.RUN_DIR,
) -> None:
    """Draw a heatmap over an image that shows where the model saw a class."""
    ask, served = find_server(url, key, token, model, run_dir)
    answer = ask("explanations", sources.read(image), {"class_id": class_id, "overlay": overlay})
    write(overlay_of(answer, served), output)
    note(f"{output} shows where {served} saw {answer['class_name']} ({answer['probability']:.1%}) in {image}.")


def overlay_of(answer: Mapping[str, Any], model: str) -> bytes:
    """Return the PNG of an explanation. Raises CommandError for the answer of an archive that can only predict."""
    if not isinstance(answer, Mapping) or "overlay" not in answer:
        raise CommandError(f"{model}: {NO_OVERLAY}")
    return base64.b64decode(answer["overlay"])


def write(content: bytes, path: Path) -> None:
    """Write a file whole or not at all. Raises CommandError."""
    try:
        with atomic_write(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{path} could not be written ({error.strerror}): choose another --output.") from error
