from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from densenet_serving.errors import CommandError
from training import checkpoints
from training.checkpoints import Saved

SAVED = Saved(3, 192, 2, 0, 7.5, {"seed": 0})


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    assert checkpoints.read(tmp_path) is None
    checkpoints.save(tmp_path / "new", SAVED, {"student.a": torch.ones(2), "average.a": torch.zeros(2)})
    found = checkpoints.read(tmp_path / "new")
    assert found is not None
    assert found[0] == SAVED
    assert torch.equal(checkpoints.part(found[1], "student")["a"], torch.ones(2))


@pytest.mark.parametrize("content", ["text", "tensors"])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / checkpoints.FILE
    if content == "text":
        path.write_bytes(b"no checkpoint")
    else:
        save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(CommandError, match="is damaged or no checkpoint"):
        checkpoints.read(tmp_path)


def test_a_full_disk_is_a_sentence_and_leaves_the_checkpoint_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / checkpoints.FILE
    checkpoints.save(tmp_path, SAVED, {"a": torch.ones(2)})
    before = path.read_bytes()

    def write_half(_: object, to: Path, *__: object) -> None:
        to.write_bytes(before[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", write_half)
    with pytest.raises(CommandError, match=r"cannot be written .*No space left"):
        checkpoints.save(tmp_path, SAVED, {"a": torch.zeros(2)})
    assert [one.name for one in tmp_path.iterdir()] == [checkpoints.FILE]
    assert path.read_bytes() == before
