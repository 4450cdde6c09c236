"""An int8 archive behind the real server, beside the usual one of the same model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from densenet_serving import paths
from densenet_serving.options import STAND_IN
from densenet_serving.server import torchserve
from tests.built import INT8_VERSION
from tests.e2e.support import Inference, Models, assert_refused, content_of, rewrite, succeed, with_name
from tests.pictures import SAMPLE_NAME
from tests.waiting import until


@pytest.fixture
def int8_version(models: Models, model_store: Path, int8_archive: Path) -> Iterator[str]:
    """Register the int8 archive for as long as a test lasts."""
    path = Path(shutil.copy(int8_archive, model_store))
    succeed(models("register", path))
    yield INT8_VERSION
    models("unregister", STAND_IN, "--version", INT8_VERSION)
    path.unlink()


def test_it_classifies_the_sample_and_says_that_it_is_int8(
    models: Models, inference: Inference, int8_version: str
) -> None:
    path = f"/predictions/{STAND_IN}/{int8_version}"
    assert content_of(inference(paths.SAMPLE_PHOTO.read_bytes(), path=path))["class_name"] == SAMPLE_NAME
    card = json.loads(models("describe", STAND_IN, "--version", int8_version).stdout)["customizedMetadata"]
    assert card["running"]["precision"] == "int8"
    assert card["quantization"]["agreement_with_f32"]["int8"]["photos"] == 100


def test_one_that_shall_compute_in_f32_is_not_served(
    running: torchserve.Server, models: Models, model_store: Path, int8_archive: Path
) -> None:
    settings = {"model-config.yaml": lambda text: text.replace("precision: auto", "precision: f32")}
    path = rewrite(int8_archive, model_store / "exact.mar", with_name("exact") | settings)
    try:
        assert_refused(models("register", path), "exact")
        # A worker's last lines reach the log after its end.
        until(lambda: "int8 archive cannot become f32" in (running.logs / "model_log.log").read_text())
    finally:
        path.unlink()
