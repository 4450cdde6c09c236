from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from densenet_serving.build import provenance
from densenet_serving.build.provenance import PREFIX, Provenance
from densenet_serving.errors import WeightsError
from tests.checkpoints import PROVENANCE

TENSORS = {"classifier.weight": torch.zeros(2, 3)}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "a.safetensors", metadata=PROVENANCE.to_metadata() | {"format": "pt"})
    assert provenance.read(tmp_path / "a.safetensors") == PROVENANCE


@pytest.mark.parametrize("metadata", [None, {"format": "pt", "license": "mine", "steps": "many"}])
def test_other_checkpoints_have_none(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file(TENSORS, tmp_path / "a.safetensors", metadata=metadata)
    assert provenance.read(tmp_path / "a.safetensors") is None


@pytest.mark.parametrize("name", PROVENANCE.to_metadata())
def test_a_missing_field(tmp_path: Path, name: str) -> None:
    metadata = {key: value for key, value in PROVENANCE.to_metadata().items() if key != name}
    save_file(TENSORS, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(WeightsError, match=rf"a.safetensors: .* lacks {name.removeprefix(PREFIX)}: export it again"):
        provenance.read(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["steps", "top1", "top5", "temperature"])
def test_text_for_a_number(name: str) -> None:
    with pytest.raises(WeightsError, match=f"{name} is 'many', which is no number"):
        Provenance.from_metadata(PROVENANCE.to_metadata() | {PREFIX + name: "many"})


@pytest.mark.parametrize(
    "changed",
    [
        {"teacher": " "},
        {"license": ""},
        {"steps": -1},
        {"top1": -0.1},
        {"top5": 1.1},
        {"top1": float("nan")},
        {"top1": 0.7, "top5": 0.6},
        {"temperature": 0.0},
        {"temperature": float("inf")},
        {"temperature": float("nan")},
    ],
    ids=str,
)
def test_a_value_out_of_range(changed: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match=r"The checkpoint's (\w+) .*: export it again"):
        replace(PROVENANCE, **changed)


def test_a_damaged_file(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match="damaged or no checkpoint"):
        provenance.read(tmp_path / "a.safetensors")
