from __future__ import annotations

from pathlib import Path

import pytest

from densenet_serving.cli.explain import overlay_of, write
from densenet_serving.errors import CommandError


def test_the_picture_is_written_whole_or_its_place_is_named(tmp_path: Path) -> None:
    path = tmp_path / "heat.png"
    path.write_bytes(b"an older one")
    write(b"png", path)
    assert path.read_bytes() == b"png"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(CommandError, match=r"nowhere/heat\.png could not be written .*: choose another --output"):
        write(b"png", tmp_path / "nowhere" / "heat.png")


def test_an_archive_that_is_too_old_to_explain_is_named() -> None:
    answer = {"class_id": "n02123045", "class_name": "tabby", "probability": 0.5}
    with pytest.raises(CommandError, match=r"densenet121: The answer has no overlay: .*; build it again"):
        overlay_of(answer, "densenet121")
