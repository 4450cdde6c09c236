from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from densenet_serving.build.pack import publish, run_archiver
from densenet_serving.errors import CommandError


def test_a_store_that_fills_up_keeps_the_older_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(source: Path, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    (tmp_path / "efficientnet_lite0.mar").write_text("old")
    monkeypatch.setattr(shutil, "copyfile", full)
    (tmp_path / "built").mkdir()
    (tmp_path / "built" / "any").touch()
    with pytest.raises(CommandError, match=r"could not be written \(No space left on device\)"):
        publish(tmp_path / "built" / "any", tmp_path / "efficientnet_lite0.mar")
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert [(path.name, path.read_text()) for path in files] == [("efficientnet_lite0.mar", "old")]


@pytest.mark.parametrize(
    ("stderr", "said"), [("Traceback\nFileNotFoundError: no\n", "FileNotFoundError: no"), ("", "exit status 1")]
)
def test_an_archiver_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stderr: str, said: str) -> None:
    def failing(*_: Any, **__: Any) -> SimpleNamespace:
        return SimpleNamespace(returncode=1, stderr=stderr, stdout="")

    monkeypatch.setattr(subprocess, "run", failing)
    with pytest.raises(CommandError, match=f"torch-model-archiver failed: {said}"):
        run_archiver("name", "1.0", tmp_path, tmp_path / "model-config.yaml", tmp_path)
