from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from densenet_serving.build.download import CHUNK_BYTES, download
from densenet_serving.errors import DownloadError
from tests import certificates
from tests.local_server import LocalServer, Reply, serve

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def refusal(url: str, folder: Path, **options: Any) -> str:
    """Check that nothing of a failed download is kept; returns the message."""
    with pytest.raises(DownloadError) as caught:
        download(url, folder / "model.pth", SHA256, **options)
    assert list(folder.rglob("*model*")) == []
    message = str(caught.value)
    assert url in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8], SHA256.upper()])
@pytest.mark.parametrize("older", [True, False])
def test_a_good_file_is_kept_whole(local: LocalServer, tmp_path: Path, sha256: str, older: bool) -> None:
    local.on("GET /model.pth", Reply(body=CONTENT))
    path = tmp_path / "deep" / "folder" / "model.pth"
    if older:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"old")
    download(f"{local.url}/model.pth", path, sha256, most_bytes=len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_wrong_digest_leaves_the_older_file_alone(local: LocalServer, tmp_path: Path) -> None:
    local.on("GET /model.pth", Reply(body=b"other"))
    assert SHA256 in refusal(f"{local.url}/model.pth", tmp_path)
    path = tmp_path / "model.pth"
    path.write_bytes(b"old")
    with pytest.raises(DownloadError):
        download(f"{local.url}/model.pth", path, SHA256)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("model.pth", b"old")]


@pytest.mark.parametrize(
    ("reply", "options", "reason"),
    [
        (Reply(body=CONTENT, declared=len(CONTENT) + 1), {}, "broke off"),
        (Reply(status=404), {}, "404"),
        (Reply(status=503), {}, "503"),
        (Reply(hangs=True), {"timeouts": (1, 0.2)}, "in time"),
        (Reply(body=CONTENT), {"most_bytes": len(CONTENT) - 1}, "larger than"),
        (Reply(body=CONTENT, endless=True), {"most_bytes": 2 * CHUNK_BYTES}, "larger than"),
    ],
)
def test_a_server_that_fails_or_sends_too_much(
    local: LocalServer, tmp_path: Path, reply: Reply, options: dict[str, Any], reason: str
) -> None:
    local.on("GET /model.pth", reply)
    assert reason in refusal(f"{local.url}/model.pth", tmp_path, **options)


def test_a_redirect_of_plain_http_is_not_followed(local: LocalServer, tmp_path: Path) -> None:
    """It could lead to a service of this machine that answers nobody else."""
    local.on("GET /model.pth", Reply(302, location="/internal.pth"))
    local.on("GET /internal.pth", Reply(body=CONTENT))
    assert f"{local.url}/internal.pth" in refusal(f"{local.url}/model.pth", tmp_path)
    assert [asked.path for asked in local.asked] == ["/model.pth"]


@pytest.fixture
def secure(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """A server whose certificate this machine trusts."""
    pair = certificates.make(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pair.certificate))
    with serve(context) as running:
        yield running


def test_https_is_followed_to_https_and_nowhere_else(secure: LocalServer, local: LocalServer, tmp_path: Path) -> None:
    secure.on("GET /model.pth", Reply(302, location="/moved.pth"))
    secure.on("GET /moved.pth", Reply(body=CONTENT))
    download(f"{secure.url}/model.pth", tmp_path / "good" / "model.pth", SHA256)
    assert (tmp_path / "good" / "model.pth").read_bytes() == CONTENT

    secure.on("GET /moved.pth", Reply(302, location=f"{local.url}/internal.pth"))
    assert f"{local.url}/internal.pth" in refusal(f"{secure.url}/moved.pth", tmp_path / "other")
    assert local.asked == []


def test_a_redirect_without_end(secure: LocalServer, tmp_path: Path) -> None:
    secure.on("GET /model.pth", Reply(302, location="/model.pth"))
    assert "5 redirects" in refusal(f"{secure.url}/model.pth", tmp_path)


@pytest.mark.parametrize(("address", "reason"), [("NOBODY/model.pth", "could not be reached"), ("http://", "")])
def test_no_server(nobody: str, tmp_path: Path, address: str, reason: str) -> None:
    assert reason in refusal(address.replace("NOBODY", nobody), tmp_path)


def test_a_folder_that_cannot_be_made(local: LocalServer, tmp_path: Path) -> None:
    local.on("GET /model.pth", Reply(body=CONTENT))
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"file/model.pth"):
        download(f"{local.url}/model.pth", tmp_path / "file" / "model.pth", SHA256)
