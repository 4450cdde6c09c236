"""The model of an archive, run by the archive's own handler as TorchServe runs it: the answers are the server's."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import yaml

from densenet_serving.errors import CommandError

MANIFEST = "MAR-INF/MANIFEST.json"
BUSY = 503


class Answered:
    """What the handler sees of TorchServe (handler/context.py), and the status that it gives each row."""

    def __init__(self, folder: Path, config: dict[str, Any], headers: Mapping[str, str], batch: int) -> None:
        self.system_properties = {"model_dir": str(folder), "gpu_id": None, "batch_size": batch}
        self.model_yaml_config = config
        self.metrics = SimpleNamespace(cache={})
        self.status: dict[int, int] = {}
        self._headers = dict(headers)

    def get_request_id(self, idx: int) -> str | None:
        return str(idx)

    def get_all_request_header(self, idx: int) -> dict[str, Any]:  # noqa: ARG002 - all rows have the same
        return self._headers

    def set_response_content_type(self, idx: int, value: str) -> None: ...

    def set_response_header(self, idx: int, key: str, value: str) -> None: ...

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:  # noqa: ARG002 - the body says it too
        self.status[idx] = code


class Model:
    """One archive, loaded for one thread. Its modules come from the archive, so load no other in the same process."""

    def __init__(self, archive: bytes, digest: str, batch: int, headers: Mapping[str, str]) -> None:
        """Raises CommandError if the bytes are not those of the digest."""
        if hashlib.sha256(archive).hexdigest() != digest:
            raise CommandError(f"The archive that arrived on this host is not the one of SHA-256 {digest}.")
        self._unpacked = tempfile.TemporaryDirectory(prefix="archive-")  # its decoder processes are started from there
        folder = Path(self._unpacked.name)
        with zipfile.ZipFile(io.BytesIO(archive)) as mar:
            mar.extractall(folder)
        model = json.loads((folder / MANIFEST).read_text())["model"]
        self._context = Answered(folder, _config(folder, model.get("configFile")), headers, batch)
        self._handler = _handler(folder, model["handler"])
        self._handler.initialize(self._context)

    def classify(self, photos: Sequence[bytes]) -> list[dict[str, Any]]:
        """Answer each photo with the server's JSON: that of a prediction, or {code, type, message}.

        A photo for which a batch of large ones leaves no time is tried again alone.
        """
        answers = self._answer(photos)
        return [
            self._answer([photo])[0] if answer.get("code") == BUSY and len(photos) > 1 else answer
            for photo, answer in zip(photos, answers, strict=True)
        ]

    def _answer(self, photos: Sequence[bytes]) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self._handler.handle([{"body": photo} for photo in photos], self._context)]


def _config(folder: Path, name: str | None) -> dict[str, Any]:
    """Read model-config.yaml, but with one thread: a worker a core decodes and infers in turn, and that is fastest."""
    config: dict[str, Any] = yaml.safe_load((folder / name).read_text()) if name else {}
    config["handler"] = {**(config.get("handler") or {}), "threads": 1}
    return config


def _handler(folder: Path, entry: str) -> Any:
    """Import the archive's entry as TorchServe does, and return an instance of the one class defined there."""
    sys.path.insert(0, str(folder))
    try:
        module: ModuleType = importlib.import_module(Path(entry).stem)
    finally:
        sys.path.remove(str(folder))
    [handler] = [
        value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__
    ]
    return handler()
