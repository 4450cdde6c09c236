"""The models of the running server, through `densenet models`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from densenet_serving.client.http import Client
from densenet_serving.files import sha256_of
from densenet_serving.options import MODEL, STAND_IN
from densenet_serving.server import torchserve
from tests.e2e.support import Inference, Models, as_version, assert_refused, content_of, rewrite, succeed, with_name


@pytest.fixture(scope="module")
def second_version(models: Models, model_store: Path) -> Iterator[str]:
    """DenseNet-121 a second time, registered beside the first; its class names tell which one answered."""
    path = rewrite(model_store / f"{MODEL}.mar", model_store / f"{MODEL}-2.0.mar", as_version("2.0"))
    succeed(models("register", path))
    yield "2.0"
    succeed(models("unregister", MODEL, "--version", "2.0"))
    path.unlink()


def best_name(inference: Inference, image: bytes, path: str = f"/predictions/{MODEL}") -> str:
    return str(content_of(inference(image, path=path, headers={"Min-Probability": "0"}))["class_name"])


def default_version(client: Client) -> str:
    return str(client.describe(MODEL)["modelVersion"])


def test_list(models: Models) -> None:
    listed = json.loads(succeed(models("list")))

    first_versions = {model["name"]: model for model in listed if model["version"] == "1.0"}
    for name in (MODEL, STAND_IN):
        model = first_versions[name]
        assert (model["archive"], model["workers"], model["ready"]) == (f"{name}.mar", 1, 1)


def test_describe_shows_where_the_model_came_from_and_what_runs_it(models: Models, seeded_checkpoint: Path) -> None:
    described = json.loads(succeed(models("describe", MODEL, "--version", "1.0")))

    card = described["customizedMetadata"]
    assert card["architecture"] == "DenseNet-121"
    assert card["weights"]["sha256"] == sha256_of(seeded_checkpoint)
    assert card["preprocessing"]["crop"] == 224
    assert set(card["running"]) == {"engine", "precision", "device", "threads", "threads_alone"}
    assert described["workers"][0]["status"] == "READY"


def test_a_second_version_answers_under_its_own_address(
    inference: Inference, client: Client, cat: bytes, second_version: str
) -> None:
    first = best_name(inference, cat, f"/predictions/{MODEL}/1.0")

    assert best_name(inference, cat, f"/predictions/{MODEL}/{second_version}") == f"second {first}"
    assert best_name(inference, cat) == first
    assert client.describe(MODEL, second_version)["customizedMetadata"]["version"] == second_version


def test_a_registered_model_keeps_its_archives_settings(client: Client, second_version: str) -> None:
    first, second = (client.describe(MODEL, version) for version in ("1.0", second_version))

    for setting in ("minWorkers", "maxWorkers", "batchSize", "maxBatchDelay", "responseTimeout"):
        assert second[setting] == first[setting]


def test_the_default_moves_to_another_version_and_back(
    models: Models, inference: Inference, client: Client, cat: bytes, second_version: str
) -> None:
    first = best_name(inference, cat)

    succeed(models("default", MODEL, second_version))
    try:
        assert default_version(client) == second_version
        assert best_name(inference, cat) == f"second {first}"
        assert best_name(inference, cat, f"/predictions/{MODEL}/1.0") == first
    finally:
        succeed(models("default", MODEL, "1.0"))
    assert default_version(client) == "1.0"
    assert best_name(inference, cat) == first


def test_what_a_second_version_forbids(models: Models, model_store: Path, second_version: str) -> None:
    assert_refused(models("unregister", MODEL, "--version", "1.0"), "default version")
    assert_refused(models("register", model_store / f"{MODEL}-2.0.mar"), "densenet121 2.0", "registered already")


def test_a_model_comes_with_two_workers_is_scaled_and_goes(
    models: Models, inference: Inference, client: Client, model_store: Path, photos: dict[str, bytes]
) -> None:
    path = rewrite(model_store / f"{STAND_IN}.mar", model_store / "guest.mar", with_name("guest"))
    try:
        succeed(models("register", path, "--workers", "2"))
        workers = client.describe("guest")["workers"]
        assert [worker["status"] for worker in workers] == ["READY", "READY"]
        assert len({worker["pid"] for worker in workers}) == 2
        for photo in photos.values():
            assert best_name(inference, photo, "/predictions/guest") == best_name(
                inference, photo, f"/predictions/{STAND_IN}"
            )

        succeed(models("scale", "guest", "1"))
        assert len(client.describe("guest")["workers"]) == 1
    finally:
        succeed(models("unregister", "guest"))
        path.unlink()
    assert inference(photos["coffee"], path="/predictions/guest").status_code == 404
    assert "guest" not in client.models()


def test_the_workers_run_the_archives_own_code(running: torchserve.Server, client: Client) -> None:
    """The unpacked archive comes first on their path; test_lifecycle tries a caller who puts the repository there."""
    for model in (MODEL, STAND_IN):
        for worker in client.describe(model)["workers"]:
            first, *_ = psutil.Process(worker["pid"]).environ()["PYTHONPATH"].split(":")
            assert Path(first).is_relative_to(running.process.environ()["TMPDIR"])
