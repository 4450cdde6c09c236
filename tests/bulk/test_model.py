from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install -e '.[bulk]'")

from scripts import paths
from tests import pictures

# A worker's imports and an archive's model, in a process of their own: the handler must be that of the archive.
PROGRAM = """
import json, sys
import scripts.batch.worker
assert not [name for name in sys.modules if name.partition(".")[0] == "handler"]
from scripts.batch.model import Model
archive, digest, *photos = sys.argv[1:]
model = Model(open(archive, "rb").read(), digest, 8, {"top-k": "2"})
answers = model.classify([open(photo, "rb").read() for photo in photos])
print(json.dumps({"answers": answers, "handler": sys.modules["handler"].__file__}))
"""


def test_the_archives_own_handler_answers_as_on_the_server(stand_in_archive: Path, cat: bytes, tmp_path: Path) -> None:
    from scripts.files import sha256_of

    (tmp_path / "cat.jpg").write_bytes(cat)
    (tmp_path / "bad.jpg").write_bytes(b"{}")
    (tmp_path / "wide.png").write_bytes(pictures.encode(pictures.photo("coffee"), "PNG"))
    photos = [str(tmp_path / name) for name in ("cat.jpg", "bad.jpg", "wide.png")]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(stand_in_archive), sha256_of(stand_in_archive), *photos],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(done.stdout)
    assert "archive-" in found["handler"]
    first, bad, wide = found["answers"]
    assert first["class_name"] in pictures.FITTING["chelsea"]  # a near tie
    assert len(first["predictions"]) == 2
    assert (bad["code"], bad["type"]) == (415, "UnsupportedMediaTypeException")
    assert wide["class_name"] == "espresso"


def test_an_archive_that_arrives_changed_is_refused(lengths: Path) -> None:
    from scripts.batch.model import Model
    from scripts.errors import CommandError

    with pytest.raises(CommandError, match="not the one of SHA-256 0123"):
        Model(lengths.read_bytes(), "0123", 8, {})
