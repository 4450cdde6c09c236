from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from scripts.errors import CommandError
from scripts.files import sha256_of
from training.parts import parts, split


@pytest.mark.parametrize(("length", "count"), [(1000, 1), (1001, 2), (12_345, 13)])
def test_parts_join_to_the_same_file(tmp_path: Path, length: int, count: int) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(np.random.default_rng(0).bytes(length))
    digest = sha256_of(path)
    parts = split(path, 1000)
    assert len(parts) == count
    assert all(part.stat().st_size <= 1000 for part in parts)
    path.unlink()
    join = f"cat {path.name}.part-* > {path.name} && sha256sum -c {path.name}.sha256"
    subprocess.run(["sh", "-c", join], cwd=tmp_path, check=True, capture_output=True)
    assert sha256_of(path) == digest


def test_parts_of_an_earlier_larger_file_do_not_stay(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(bytes(3000))
    split(path, 1000)
    path.write_bytes(bytes(500))
    split(path, 1000)
    assert [one.name for one in tmp_path.glob("*.part-*")] == ["weights.safetensors.part-00"]


def test_the_command_says_how_to_join(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(bytes(3 * 2**20))
    parts(path, size=1)
    assert "Wrote 3 part(s). To join them: cat weights.safetensors.part-* >" in capsys.readouterr().err
    with pytest.raises(CommandError, match="There is no file"):
        parts(tmp_path / "missing")
