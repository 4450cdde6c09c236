from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from densenet_serving.build import download as module
from densenet_serving.build.download import download
from densenet_serving.errors import DownloadError
from densenet_serving.files import sha256_of
from tests import certificates
from tests.local_server import LocalServer, Reply, serve

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def short_time_outs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_SECONDS", 0.2)


def refusal(url: str, folder: Path, sha256: str = SHA256) -> str:
    """Check that nothing of a failed download is kept; returns the message."""
    with pytest.raises(DownloadError) as caught:
        download(url, folder / "model.pth", sha256)
    assert list(folder.rglob("*model*")) == []
    message = str(caught.value)
    assert url in message
    assert message.endswith(".")
    return message


@pytest.mark.parametrize("sha256", [SHA256, SHA256[:8], SHA256.upper()])
def test_a_good_file_is_kept_whole(local: LocalServer, tmp_path: Path, sha256: str) -> None:
    local.on("GET /model.pth", Reply(body=CONTENT))
    path = tmp_path / "deep" / "folder" / "model.pth"
    download(f"{local.url}/model.pth", path, sha256)
    assert path.read_bytes() == CONTENT
    assert sha256_of(path) == SHA256
    assert list(path.parent.iterdir()) == [path]


def test_an_older_file_is_replaced(local: LocalServer, tmp_path: Path) -> None:
    local.on("GET /model.pth", Reply(body=CONTENT))
    path = tmp_path / "model.pth"
    path.write_bytes(b"old")
    download(f"{local.url}/model.pth", path, SHA256)
    assert path.read_bytes() == CONTENT


def test_a_wrong_digest(local: LocalServer, tmp_path: Path) -> None:
    local.on("GET /model.pth", Reply(body=CONTENT[:-1]))
    message = refusal(f"{local.url}/model.pth", tmp_path)
    assert f"not the expected {SHA256}" in message
    assert "Nothing was kept" in message


def test_a_wrong_digest_leaves_the_older_file_alone(local: LocalServer, tmp_path: Path) -> None:
    local.on("GET /model.pth", Reply(body=b"other"))
    path = tmp_path / "model.pth"
    path.write_bytes(b"old")
    with pytest.raises(DownloadError):
        download(f"{local.url}/model.pth", path, SHA256)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("model.pth", b"old")]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(body=CONTENT, declared=len(CONTENT) + 1), "the connection broke off before the end"),
        (Reply(status=404), "the server answered 404"),
        (Reply(status=503), "the server answered 503"),
        (Reply(hangs=True), "the server did not answer in time"),
    ],
)
def test_a_server_that_fails(local: LocalServer, tmp_path: Path, reply: Reply, reason: str) -> None:
    local.on("GET /model.pth", reply)
    assert f"({reason}): check the network." in refusal(f"{local.url}/model.pth", tmp_path)


@pytest.mark.parametrize("body", [CONTENT, CONTENT[:-1]])
def test_a_file_larger_than_any_checkpoint_is_refused_before_it_is_stored(
    local: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", len(CONTENT) - 1)
    local.on("GET /model.pth", Reply(body=body))
    if body == CONTENT:
        assert "which no checkpoint of these networks is" in refusal(f"{local.url}/model.pth", tmp_path)
    else:
        download(f"{local.url}/model.pth", tmp_path / "model.pth", hashlib.sha256(body).hexdigest())


def test_a_file_without_a_declared_length_is_refused_once_too_much_has_come(
    local: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 2 * module.CHUNK_BYTES)
    local.on("GET /model.pth", Reply(body=CONTENT, endless=True))
    assert "which no checkpoint of these networks is" in refusal(f"{local.url}/model.pth", tmp_path)


def test_a_redirect_of_plain_http_is_not_followed(local: LocalServer, tmp_path: Path) -> None:
    """It could lead to a service of this machine that answers nobody else."""
    local.on("GET /model.pth", Reply(302, location=f"{local.url}/internal.pth"))
    local.on("GET /internal.pth", Reply(body=CONTENT))
    said = refusal(f"{local.url}/model.pth", tmp_path)
    assert f"is redirected to {local.url}/internal.pth, and only https is followed, to https" in said
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
    assert f"is redirected to {local.url}/internal.pth" in refusal(f"{secure.url}/model.pth", tmp_path / "other")
    assert local.asked == []


def test_a_redirect_without_end(secure: LocalServer, tmp_path: Path) -> None:
    secure.on("GET /model.pth", Reply(302, location="/model.pth"))
    assert "is redirected more than 5 times" in refusal(f"{secure.url}/model.pth", tmp_path)


def test_no_server(nobody: str, tmp_path: Path) -> None:
    assert "could not be reached" in refusal(f"{nobody}/model.pth", tmp_path)


def test_no_address(tmp_path: Path) -> None:
    assert "could not be downloaded" in refusal("http://", tmp_path)


def test_a_folder_that_cannot_be_made(local: LocalServer, tmp_path: Path) -> None:
    local.on("GET /model.pth", Reply(body=CONTENT))
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"could not be kept as .*file/model.pth \(.*\): .* write"):
        download(f"{local.url}/model.pth", tmp_path / "file" / "model.pth", SHA256)
