"""Read and write Java properties in the form of TorchServe's config.properties: `key=value` lines and # comments."""

from __future__ import annotations

from pathlib import Path

from scripts.errors import CommandError


def read(path: Path) -> dict[str, str]:
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read ({error.strerror}): name TorchServe's settings with --config."
        ) from error
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, value in pairs}


def write(path: Path, comment: str, values: dict[str, str]) -> None:
    path.write_text(f"# {comment}\n" + "".join(f"{key}={value}\n" for key, value in values.items()))
