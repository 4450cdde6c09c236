"""Archives that hold a manifest and no model."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from scripts.archive import MANIFEST


def write_archive(path: Path, version: str = "1.0", model: str = "m") -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(MANIFEST, json.dumps({"model": {"modelName": model, "modelVersion": version}}))
    return path
