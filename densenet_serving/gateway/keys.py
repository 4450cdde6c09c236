"""API keys: made at random, given out once, kept as digests in a file that only its owner reads.

A key has 256 random bits, so nobody can guess it from its SHA-256; slow hashes are for passwords, which people choose.
The gateway asks for a key as long as the file exists, even after the last key was revoked: it never opens by itself.
A gateway that was told to read another file, as a Secret that is mounted into a container, always asks for a key.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from densenet_serving.errors import ServingError
from densenet_serving.files import atomic_write, private_file

KEYS_FILE = "api_keys.json"
PREFIX = "densenet_"  # tells people, and scanners for leaked secrets, what it is
RANDOM_BYTES = 32
LONGEST_NAME = 64


class ApiKeys:
    """The API keys of one run folder, or those in another file, `given`, that somebody else keeps.

    The file is read again when it changes, so that a running gateway follows it.
    """

    def __init__(self, run_dir: Path, given: Path | None = None) -> None:
        self.path = given or run_dir / KEYS_FILE
        self._is_given = given is not None
        self._digests: dict[str, str] = {}
        self._read_at: tuple[int, ...] | None = None

    @property
    def enforced(self) -> bool:
        return self._is_given or self.path.exists()

    def add(self, name: str) -> str:
        """Make a key and return it. It cannot be shown again. Raises ServingError."""
        if not name.isprintable() or not 0 < len(name.strip()) <= LONGEST_NAME:
            raise ServingError(f"A key's name has 1 to {LONGEST_NAME} printable characters: choose another.")
        key = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        with self._change() as entries:
            if name in entries:
                raise ServingError(f"There is a key named {name}: revoke it first, or choose another name.")
            entries[name] = {"sha256": digest_of(key), "created": created}
        return key

    def revoke(self, name: str) -> None:
        """Delete a key. A running gateway refuses it from the next request on. Raises ServingError."""
        with self._change() as entries:
            if name not in entries:
                raise ServingError(f"There is no key named {name}: densenet keys list shows the ones there are.")
            del entries[name]

    def name_of(self, key: str) -> str | None:
        """Return the name of a key, None if it is not valid. Raises ServingError if the file cannot be read."""
        if self._read_at != (version := version_of(self.path)):
            self._digests = {name: entry["sha256"] for name, entry in self.entries().items()}
            self._read_at = version
        digest = digest_of(key)
        # All are compared, in constant time, so that the time taken tells nothing.
        matches = [name for name, known in self._digests.items() if hmac.compare_digest(known, digest)]
        return matches[0] if matches else None

    def entries(self) -> dict[str, dict[str, str]]:
        """Map each key's name to its SHA-256 and the time it was made. Raises ServingError."""
        if self._is_given:
            self._check_file()
        elif not self.path.exists():
            return {}
        try:
            entries = json.loads(self.path.read_text())
            return {name: {"sha256": entry["sha256"], "created": entry["created"]} for name, entry in entries.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServingError(
                f"{self.path} is damaged, and nobody gets in: put a copy back, "
                "or write {} into it and add the keys again."
            ) from error

    def _check_file(self) -> None:
        """A group may read the file, since Kubernetes gives a Secret to the group of the pod. Raises ServingError."""
        if not self.path.is_file():
            raise ServingError(f"There is no file {self.path}: densenet keys export prints one.")
        if self.path.stat().st_mode & stat.S_IRWXO:
            raise ServingError(f"Every user of this machine can open {self.path}: run chmod o= {self.path}.")

    @contextmanager
    def _change(self) -> Iterator[dict[str, dict[str, str]]]:
        """Give the entries to one process at a time, and write them back unless it raises."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # on the folder, since the file itself is replaced
            entries = self.entries()
            yield entries
            with atomic_write(self.path) as partial, private_file(partial) as file:
                json.dump(entries, file, indent=2)
        finally:
            os.close(folder)  # releases the lock


def version_of(path: Path) -> tuple[int, ...]:
    """Return what tells one content of a file, and its permissions, from another.

    The time of the last change of state cannot be set, as the other may: `cp -p` and `rsync -t` keep it.
    """
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def digest_of(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()
