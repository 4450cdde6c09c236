"""Warn about archives that are stale, unchecked or not loaded, and about a server that other machines reach."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from scripts import paths, properties
from scripts.archives.build_command import BuildCommand
from scripts.client.http import Client
from scripts.console import shell, warn
from scripts.files import digest_file
from scripts.server import exposure
from scripts.server.torchserve import Server


def warn_if_stale(archives: Iterable[Path]) -> None:
    """Warn about archives that were built before the handler or the labels changed."""
    newest = max(path.stat().st_mtime for path in (*paths.handler_files(), paths.LABELS))
    for path in archives:
        if path.stat().st_mtime < newest:
            again = BuildCommand.read(path) or (
                "densenet archive, with the --model, --weights, --labels and --version it was built with,"
            )
            warn(f"{path.name} is older than the handler or the labels here: {again} builds it again.")


def warn_if_unpinned(archives: Iterable[Path]) -> None:
    """Warn about archives without a digest: they are from elsewhere, or older than digests."""
    for path in archives:
        if not digest_file(path).exists():
            pin = f"{shell('sha256sum', path.name)} > {shell(digest_file(path).name)}"
            warn(f"{path.name} is served unchecked: in {path.parent}, {pin} pins it.")


def warn_if_not_loaded(client: Client, archives: Iterable[Path]) -> None:
    """Warn about archives of the model store that a running server has not loaded."""
    loaded = set(client.models().values())
    for path in archives:
        if path.name not in loaded:
            warn(f"{path.name} is not loaded: densenet stop and densenet serve load it, or densenet models register.")


def warn_if_exposed(running: Server) -> None:
    """Warn if other machines reach a server that takes models."""
    if said := exposure.warning(properties.read(running.settings)):
        warn(said)
