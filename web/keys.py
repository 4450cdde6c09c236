"""API keys: made at random, given out once, kept as digests in a file that only its owner reads.

A key has 256 random bits, so nobody finds it from its SHA-256 by trying; slow hashes are for passwords, which people
choose. While the file exists a key is asked for, also after the last one was revoked: a gateway never opens by itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from scripts.errors import CommandError

KEYS_FILE = "api_keys.json"
PREFIX = "densenet_"  # lets a person, and a scanner of repositories, tell what it is
RANDOM_BYTES = 32
LONGEST_NAME = 64


class KeyFile:
    """The keys of one run folder. Read again whenever the file changes, so that a running gateway follows it."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / KEYS_FILE
        self._digests: dict[str, str] = {}
        self._read_at: tuple[int, int] | None = None

    @property
    def enforced(self) -> bool:
        return self.path.exists()

    def add(self, name: str) -> str:
        """Make a key and return it; this is the only time it can be seen. Raises CommandError."""
        if not name.isprintable() or not 0 < len(name.strip()) <= LONGEST_NAME:
            raise CommandError(f"A key's name has 1 to {LONGEST_NAME} printable characters: choose another.")
        key = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        with self._change() as entries:
            if name in entries:
                raise CommandError(f"There is a key named {name}: revoke it first, or choose another name.")
            entries[name] = {"sha256": digest_of(key), "created": created}
        return key

    def revoke(self, name: str) -> None:
        """Take a key away; a running gateway refuses it from the next request on. Raises CommandError."""
        with self._change() as entries:
            if name not in entries:
                raise CommandError(f"There is no key named {name}: densenet keys list shows the ones there are.")
            del entries[name]

    def name_of(self, key: str) -> str | None:
        """Tell whose key this is. Raises CommandError where the file cannot be read: then nobody gets in."""
        stat = self.path.stat()
        if self._read_at != (stat.st_mtime_ns, stat.st_ino):
            self._digests = {name: entry["sha256"] for name, entry in self.entries().items()}
            self._read_at = (stat.st_mtime_ns, stat.st_ino)
        digest = digest_of(key)
        # Every one is compared, in constant time: how long it takes tells nothing.
        matches = [name for name, known in self._digests.items() if hmac.compare_digest(known, digest)]
        return matches[0] if matches else None

    def entries(self) -> dict[str, dict[str, str]]:
        """Map each key's name to its SHA-256 and the time it was made. Raises CommandError."""
        if not self.path.exists():
            return {}
        try:
            entries = json.loads(self.path.read_text())
            return {name: {"sha256": entry["sha256"], "created": entry["created"]} for name, entry in entries.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CommandError(
                f"{self.path} is damaged, and nobody gets in: put a copy back, "
                "or write {} into it and add the keys again."
            ) from error

    @contextmanager
    def _change(self) -> Iterator[dict[str, dict[str, str]]]:
        """Hold the entries and write them back, unless something is raised; one process at a time does."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # of the folder: the file itself is replaced
            entries = self.entries()
            yield entries
            self._write(entries)
        finally:
            os.close(folder)  # which ends the lock

    def _write(self, entries: dict[str, dict[str, str]]) -> None:
        """Replace the file as a whole: a gateway that reads it never meets half of it."""
        temporary = self.path.with_suffix(".new")
        temporary.unlink(missing_ok=True)  # left by a process that was killed: who writes holds the lock
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(entries, file, indent=2)
        temporary.replace(self.path)


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()
