"""Read and write Java properties in the form of TorchServe's config.properties: `key=value` lines and # comments."""

from __future__ import annotations

import os
import re
from pathlib import Path

from densenet_serving.errors import CommandError

# What TorchServe 0.12 takes where the file names nothing.
DEFAULT_QUEUE = 100
DEFAULT_REQUEST_BYTES = 6_553_500
ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)")
# TorchServe reads these in Python, which takes them as they are.
RAW = {"vmargs", "plugins_path"}
CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def read(path: Path) -> dict[str, str]:
    """Read a file in UTF-8, or else in Latin-1, which is all that Java reads. Raises CommandError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CommandError(
            f"{path} cannot be read ({error.strerror}): name TorchServe's settings with --config."
        ) from error
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = [line.strip() for line in text.splitlines()]
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    stripped = ((key.strip(), value.strip()) for key, value in pairs)
    return {key: value if key in RAW else _unescaped(value) for key, value in stripped}


def write(path: Path, comment: str, values: dict[str, str]) -> None:
    """Write a file that Java reads in any locale. Raises CommandError for a value that is no text."""
    lines = (f"{key}={_escaped(key, value)}\n" for key, value in values.items())
    path.write_text(f"# {_escaped('comment', comment)}\n" + "".join(lines), encoding="utf-8")


def _escaped(key: str, value: str) -> str:
    r"""Write a value in ASCII: Java takes the bytes of a file for Latin-1, but understands \uXXXX."""
    try:
        text = os.fsencode(value).decode()  # a path as Java sees it, whose locale is always one of UTF-8
    except UnicodeDecodeError as error:
        shown = os.fsencode(value).decode(errors="backslashreplace")
        raise CommandError(
            f"{key}={shown} is not UTF-8, so that TorchServe cannot open it: rename that folder or file."
        ) from error
    if key in RAW:
        return text
    units = text.replace("\\", "\\\\").encode("utf-16-be")
    codes = (int.from_bytes(units[i : i + 2]) for i in range(0, len(units), 2))
    return "".join(chr(code) if 0x20 <= code < 0x7F else f"\\u{code:04x}" for code in codes)


def _unescaped(text: str) -> str:
    def one(found: re.Match[str]) -> str:
        return chr(int(found[1][1:], 16)) if len(found[1]) > 1 else CONTROL.get(found[1], found[1])

    # Java writes a character past U+FFFF as two.
    return ESCAPE.sub(one, text).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
