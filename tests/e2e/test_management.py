"""The models of the running server, through `densenet models`."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from handler.card import CARD_FILE
from handler.labels import LABELS_FILE
from handler.settings import default_workers
from scripts import server
from scripts.archive import MANIFEST
from scripts.client import Client
from scripts.download import sha256_of
from scripts.errors import ApiError, CommandError
from scripts.integrity import digest_file, digest_line
from scripts.options import MODEL, STAND_IN
from tests.e2e.support import Inference, command, content_of, rewrite

Models = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def models(run_dir: Path) -> Models:
    """Run `densenet models ...` against the running server."""
    return lambda *arguments: command("models", *arguments, "--run-dir", run_dir)


def succeed(done: CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_refused(done: CompletedProcess[str], reason: str) -> None:
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def with_version(version: str) -> Callable[[str], str]:
    return lambda text: text.replace('"1.0"', f'"{version}"')


def with_name(name: str) -> Callable[[str], str]:
    return lambda text: text.replace(f'"{STAND_IN}"', f'"{name}"')


def marked(labels: str) -> str:
    return json.dumps({index: [key, f"second {name}"] for index, (key, name) in json.loads(labels).items()})


@pytest.fixture(scope="module")
def second_version(models: Models, model_store: Path) -> Iterator[str]:
    """DenseNet-121 a second time, registered beside the first; its class names tell which one answered."""
    changes = {MANIFEST: with_version("2.0"), CARD_FILE: with_version("2.0"), LABELS_FILE: marked}
    path = rewrite(model_store / f"{MODEL}.mar", model_store / f"{MODEL}-2.0.mar", changes)
    assert "Registered densenet121 2.0." in models("register", path).stderr
    yield "2.0"
    assert "Unregistered densenet121 2.0." in models("unregister", MODEL, "--version", "2.0").stderr
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
        workers = default_workers()
        assert (model["archive"], model["workers"], model["ready"]) == (f"{name}.mar", workers, workers)


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

    assert "densenet121 2.0 is the default." in models("default", MODEL, second_version).stderr
    try:
        assert default_version(client) == second_version
        assert best_name(inference, cat) == f"second {first}"
        assert best_name(inference, cat, f"/predictions/{MODEL}/1.0") == first
    finally:
        succeed(models("default", MODEL, "1.0"))
    assert default_version(client) == "1.0"
    assert best_name(inference, cat) == first


def test_the_default_version_cannot_be_unregistered_beside_another(models: Models, second_version: str) -> None:
    assert_refused(models("unregister", MODEL, "--version", "1.0"), "Cannot remove default version")


def test_registering_twice_is_refused(models: Models, model_store: Path, second_version: str) -> None:
    done = models("register", model_store / f"{MODEL}-2.0.mar")

    assert_refused(done, "densenet121 2.0 is registered already")


def test_a_model_comes_with_two_workers_is_scaled_and_goes(
    models: Models, inference: Inference, client: Client, model_store: Path, photos: dict[str, bytes]
) -> None:
    path = rewrite(model_store / f"{STAND_IN}.mar", model_store / "guest.mar", {MANIFEST: with_name("guest")})
    try:
        assert "Registered guest 1.0." in models("register", path, "--workers", "2").stderr
        workers = client.describe("guest")["workers"]
        assert [worker["status"] for worker in workers] == ["READY", "READY"]
        assert len({worker["pid"] for worker in workers}) == 2
        for photo in photos.values():
            assert best_name(inference, photo, "/predictions/guest") == best_name(
                inference, photo, f"/predictions/{STAND_IN}"
            )

        assert "guest has 1 worker." in models("scale", "guest", "1").stderr
        assert len(client.describe("guest")["workers"]) == 1
    finally:
        done = models("unregister", "guest")
        path.unlink()
    assert "Unregistered guest." in done.stderr
    assert inference(photos["coffee"], path="/predictions/guest").status_code == 404
    assert "guest" not in client.models()


def test_a_model_whose_worker_fails_leaves_nothing_behind(models: Models, client: Client, model_store: Path) -> None:
    changes = {
        MANIFEST: with_name("broken"),
        "model-config.yaml": lambda text: text.replace("handler:\n", "handler:\n  colour: blue\n"),
    }
    path = rewrite(model_store / f"{STAND_IN}.mar", model_store / "broken.mar", changes)
    before = client.models()
    try:
        assert_refused(models("register", path), "Failed to start workers for model broken")
        assert client.models() == before
    finally:
        path.unlink()


@pytest.fixture
def stored(model_store: Path) -> Iterator[Path]:
    """A path in the server's model store, for a file that the test makes."""
    path = model_store / "made-by-a-test.mar"
    yield path
    path.unlink()


def test_a_file_that_is_no_archive_is_refused(models: Models, stored: Path) -> None:
    stored.write_bytes(b"PK\x03\x04 and no more")

    assert_refused(models("register", stored), "is not a model archive, or damaged")


def test_a_damaged_archive_is_refused(models: Models, model_store: Path, stored: Path) -> None:
    content = bytearray((model_store / f"{STAND_IN}.mar").read_bytes())
    content[len(content) // 2] ^= 0xFF
    stored.write_bytes(content)

    assert_refused(models("register", stored), "is not a model archive, or damaged")


def test_a_changed_archive_is_refused(models: Models, client: Client, model_store: Path, stored: Path) -> None:
    """Sound in itself: only the digest written for another content gives it away."""
    rewrite(model_store / f"{STAND_IN}.mar", stored, {MANIFEST: with_name("changed")})
    digest = digest_file(stored)
    digest.write_text(digest_line(sha256_of(model_store / f"{STAND_IN}.mar"), stored))
    try:
        assert_refused(models("register", stored), "was changed or damaged after it was built")
    finally:
        digest.unlink()
    assert "changed" not in client.models()


def test_an_archive_that_would_be_unpacked_elsewhere_is_refused(
    models: Models, client: Client, running: server.Server, stored: Path
) -> None:
    with zipfile.ZipFile(stored, "w") as file:
        file.writestr(MANIFEST, json.dumps({"model": {"modelName": "slips", "modelVersion": "1.0"}}))
        file.writestr("../slipped.py", "")

    assert_refused(models("register", stored), "would be unpacked outside its folder")
    assert "slips" not in client.models()
    assert not list(running.temporary.rglob("slipped.py"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["describe", "nobody"], "Model not found: nobody"),
        (["scale", "nobody", "2"], "Model not found: nobody"),
        (["unregister", "nobody"], "Model not found: nobody"),
        (["default", MODEL, "9.9"], "Model version 9.9 does not exist"),
        (["register", "nobody.mar"], "There is no archive"),
    ],
)
def test_what_is_not_there_is_said_in_one_sentence(models: Models, arguments: list[str], reason: str) -> None:
    assert_refused(models(*arguments), reason)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/a.mar", "does not match any allowed URL"),
        ("https://example.com/a.mar", "does not match any allowed URL"),
        ("file:///etc/passwd", "does not match any allowed URL"),
        ("../a.mar", "Relative path is not allowed"),
        ("s3://bucket/a.mar", "Model not found at"),
        ("/nowhere/a.mar", "Model not found at"),
    ],
)
def test_only_archives_of_the_model_store_can_be_registered(client: Client, url: str, reason: str) -> None:
    before = client.models()

    with pytest.raises(ApiError, match=reason) as refusal:
        client.register(url)

    assert refusal.value.error["code"] == 404
    assert client.models() == before


def test_an_archive_outside_the_model_store_is_not_registered(
    models: Models, client: Client, model_store: Path, tmp_path: Path
) -> None:
    outside = rewrite(model_store / f"{STAND_IN}.mar", tmp_path / "outside.mar", {MANIFEST: with_name("outside")})

    assert_refused(models("register", outside), "is not in the server's model store")
    with pytest.raises(CommandError, match="Model not found at"):
        client.register(str(outside))
    assert "outside" not in client.models()


def test_the_workers_run_the_archives_own_code(running: server.Server, client: Client) -> None:
    """The unpacked archive comes first on their path; test_lifecycle tries a caller who puts the repository there."""
    for model in (MODEL, STAND_IN):
        for worker in client.describe(model)["workers"]:
            environment = environment_of(worker["pid"])
            first, *_ = environment["PYTHONPATH"].split(":")
            assert Path(first).is_relative_to(running.temporary), environment["PYTHONPATH"]


def environment_of(pid: int) -> dict[str, Any]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)
