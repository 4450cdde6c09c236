from __future__ import annotations

import json
from pathlib import Path

from handler.card import CARD_FILE
from scripts.archive import archive
from tests.scripts.archives.archive_files import members


def test_a_model_of_ones_own(quick: None, tmp_path: Path) -> None:
    import torch

    from scripts.model.vision import torchvision

    torch.save(torchvision.models.densenet121(num_classes=2).state_dict(), tmp_path / "own.pth")
    (tmp_path / "own.json").write_text('{"0": ["a", "cat"], "1": ["b", "dog"]}')
    archive(weights_from=str(tmp_path / "own.pth"), labels=tmp_path / "own.json", model_store=tmp_path, version="3.0")
    card = json.loads(members(tmp_path / "densenet121-3.0.mar")[CARD_FILE])
    assert card["classes"] == 2
