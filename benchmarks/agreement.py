"""The pretrained stand-in, on which two ways of answering the same photos are compared."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from densenet_serving.build.build import ModelSpec, build_model
from densenet_serving.options import STAND_IN


@contextmanager
def stand_in() -> Iterator[Path]:
    """Build the stand-in's archive and unpack it into a folder that lasts as long as the block."""
    with tempfile.TemporaryDirectory() as name:
        store = Path(name)
        build_model(ModelSpec(STAND_IN), store)
        with zipfile.ZipFile(store / f"{STAND_IN}.mar") as mar:
            mar.extractall(store)
        yield store
