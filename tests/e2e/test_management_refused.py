"""Models that are not registered, and why, through `densenet models`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from densenet_serving.client.http import Client
from densenet_serving.errors import ApiError, CommandError
from densenet_serving.files import digest_file, digest_line, sha256_of
from densenet_serving.options import MODEL, STAND_IN
from tests.e2e.support import Models, assert_refused, rewrite, with_name


def test_a_model_whose_worker_fails_leaves_nothing_behind(models: Models, client: Client, model_store: Path) -> None:
    settings = {"model-config.yaml": lambda text: text.replace("handler:\n", "handler:\n  colour: blue\n")}
    path = rewrite(model_store / f"{STAND_IN}.mar", model_store / "broken.mar", with_name("broken") | settings)
    before = client.models()
    try:
        assert_refused(models("register", path), "broken")
        assert client.models() == before
    finally:
        path.unlink()


@pytest.fixture
def stored(model_store: Path) -> Iterator[Path]:
    """A path in the server's model store, for a file that the test makes."""
    path = model_store / "made-by-a-test.mar"
    yield path
    path.unlink()


def test_a_damaged_archive_is_refused(models: Models, model_store: Path, stored: Path) -> None:
    content = bytearray((model_store / f"{STAND_IN}.mar").read_bytes())
    content[len(content) // 2] ^= 0xFF
    for damaged in (content, b"PK\x03\x04 and no more"):
        stored.write_bytes(damaged)
        assert_refused(models("register", stored), str(stored), "damaged")


def test_a_changed_archive_is_refused(models: Models, client: Client, model_store: Path, stored: Path) -> None:
    """Sound in itself: only the digest, which is of another content, tells."""
    rewrite(model_store / f"{STAND_IN}.mar", stored, with_name("changed"))
    digest = digest_file(stored)
    digest.write_text(digest_line(sha256_of(model_store / f"{STAND_IN}.mar"), stored))
    try:
        assert_refused(models("register", stored), str(stored), "changed")
    finally:
        digest.unlink()
    assert "changed" not in client.models()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["describe", "nobody"], "nobody"),
        (["scale", "nobody", "2"], "nobody"),
        (["unregister", "nobody"], "nobody"),
        (["default", MODEL, "9.9"], "9.9"),
        (["register", "nobody.mar"], "nobody.mar"),
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
    outside = rewrite(model_store / f"{STAND_IN}.mar", tmp_path / "outside.mar", with_name("outside"))

    assert_refused(models("register", outside), str(outside), "model store")
    with pytest.raises(CommandError):
        client.register(str(outside))
    assert "outside" not in client.models()
