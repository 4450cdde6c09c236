"""Is an archive the one that was built, whole, and safe to unpack? Asked before TorchServe sees it."""

from __future__ import annotations

import re
import stat
import zipfile
from pathlib import Path, PurePosixPath

from scripts.download import sha256_of
from scripts.errors import CommandError


def digest_file(archive: Path) -> Path:
    """The file beside an archive that holds its digest, in the form of sha256sum."""
    return archive.with_name(f"{archive.name}.sha256")


def digest_line(digest: str, archive: Path) -> str:
    """One line that `sha256sum -c` reads."""
    return f"{digest}  {archive.name}\n"


def check_digest(archive: Path) -> None:
    """Compare an archive with the digest beside it; one that has none is taken as it is. Raises CommandError."""
    expected_in = digest_file(archive)
    if not expected_in.exists():
        return
    expected = re.match(r"[0-9a-fA-F]{64}(?=\s)", expected_in.read_text(errors="replace"))
    if not expected:
        raise CommandError(
            f"{expected_in} holds no SHA-256: build the archive again with densenet archive, or delete that file to "
            "serve the archive unchecked."
        )
    digest = sha256_of(archive)
    if digest != expected[0].lower():
        raise CommandError(
            f"{archive} was changed or damaged after it was built: its SHA-256 is {digest}, and "
            f"{expected_in.name} says {expected[0]}. Build it again with densenet archive."
        )


def check_members(archive: Path, mar: zipfile.ZipFile) -> None:
    """Refuse an archive with a member that would be unpacked elsewhere than in its folder. Raises CommandError."""
    for member in mar.infolist():
        # orig_filename: ZipFile cuts a name at a zero byte, TorchServe does not.
        if leaves_its_folder(member.orig_filename) or stat.S_ISLNK(member.external_attr >> 16):
            raise CommandError(
                f"{archive} holds a file that would be unpacked outside its folder ({member.orig_filename!r}): do not "
                "trust it, build it again with densenet archive."
            )


def leaves_its_folder(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or re.search(r"[\\\0]|^[A-Za-z]:", name) is not None
