"""A file in parts that are small enough to be sent: `python -m training.parts --help`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scripts.console import note, run, shell
from scripts.errors import CommandError
from scripts.files import digest_file, digest_line, sha256_of

MEBIBYTE = 2**20


def parts(
    file: Annotated[Path, typer.Argument(help="The file to split.")],
    size: Annotated[float, typer.Option(min=0.001, help="MiB of a part at most.")] = 15,
) -> None:
    """Split a file into parts, and write the digest that proves them whole once they are joined."""
    if not file.is_file():
        raise CommandError(f"There is no file {file}: name the one to split.")
    made = split(file, int(size * MEBIBYTE))
    name = file.name
    word = shell(name)
    note(f"Wrote {len(made)} part(s). To join them: cat {word}.part-* > {word} && sha256sum -c {word}.sha256")


def split(path: Path, size: int) -> list[Path]:
    """Write NAME.part-00, NAME.part-01, ... of at most `size` bytes beside a file, and NAME.sha256.

    `cat NAME.part-* > NAME && sha256sum -c NAME.sha256` joins them and checks the result.
    """
    for old in path.parent.glob(f"{path.name}.part-*"):
        old.unlink()
    made: list[Path] = []
    with path.open("rb") as file:
        while data := file.read(size):
            part = path.with_name(f"{path.name}.part-{len(made):02}")
            part.write_bytes(data)
            made.append(part)
    digest_file(path).write_text(digest_line(sha256_of(path), path))
    return made


if __name__ == "__main__":
    run(parts)
