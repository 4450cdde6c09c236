"""Archives: one with a manifest and no model, and what is in one."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from densenet_serving.build.archives import MANIFEST


def write_archive(path: Path, version: str = "1.0", model: str = "m") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(MANIFEST, json.dumps({"model": {"modelName": model, "modelVersion": version}}))
    return path


def members(mar: Path) -> dict[str, bytes]:
    """Read an archive whose members carry nothing but their content: no compression, no time of their own."""
    with zipfile.ZipFile(mar) as file:
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        return {name: file.read(name) for name in file.namelist()}
