"""The server's own certificate is trusted and no other, and a hostile environment does not come between."""

from __future__ import annotations

import ast
import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from densenet_client import Client as Stranger
from densenet_client import Unreachable
from densenet_serving import paths
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import AsyncClient, Client
from densenet_serving.errors import CommandError
from tests import certificates
from tests.certificates import Pair
from tests.densenet_serving.conftest import write_keys
from tests.local_server import Asked, LocalServer, Reply, as_json, serve

FULL = {"class_id": "n1", "class_name": "tabby", "probability": 0.75, "recognized": True}
# Photos and weights come from other servers, for which a person's proxy and netrc are right.
OTHER_SERVERS = {"densenet_serving/client/sources.py", "densenet_serving/build/download.py"}
VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


@contextmanager
def showing(pair: Pair) -> Iterator[LocalServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    with serve(context) as running:
        running.on("GET /models", as_json({"models": []}))
        yield running


@pytest.fixture
def https(pair: Pair) -> Iterator[LocalServer]:
    with showing(pair) as running:
        yield running


def endpoint_of(https: LocalServer, folder: Path, certificate: Path) -> Endpoint:
    write_keys(folder)
    return Endpoint(https.url, https.url, https.url, folder, str(certificate))


def ask_for_threads(endpoint: Endpoint) -> None:
    Client(endpoint).models()


def ask_with_asyncio(endpoint: Endpoint) -> None:
    async def ask() -> None:
        client = AsyncClient(endpoint)
        try:
            await client.ask("management", "GET", "models")
        finally:
            await client.aclose()

    asyncio.run(ask())


both = pytest.mark.parametrize("ask", [ask_for_threads, ask_with_asyncio])
Ask = Callable[[Endpoint], None]


@both
@pytest.mark.parametrize("form", ["alone", "chain", "expired"])
def test_the_servers_certificate_is_trusted(tmp_path: Path, form: str, ask: Ask) -> None:
    pair = certificates.make(tmp_path, "photos.example.org", expired=form == "expired")
    (others := tmp_path / "others").mkdir()
    shown = pair.certificate.read_text()
    if form == "chain":
        shown += certificates.make(others, "authority.example").certificate.read_text()
    (trusted := tmp_path / "trusted.pem").write_text(shown)
    with showing(pair) as running:
        ask(endpoint_of(running, tmp_path, trusted))
    assert len(running.asked) == 1


@both
def test_no_other_is_trusted(https: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    """Not even one for the right name, nor one that the machine trusts; no request is sent, hence no token."""
    other = certificates.make(tmp_path).certificate
    for trusted in ("", str(other)):
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        with pytest.raises((CommandError, httpx.ConnectError), match=f"certificate {other}|CERTIFICATE_VERIFY_FAILED"):
            ask(endpoint_of(https, tmp_path, other))
    assert https.asked == []


def test_a_token_is_renewed_over_tls_too(https: LocalServer, pair: Pair, tmp_path: Path) -> None:
    endpoint = endpoint_of(https, tmp_path, pair.certificate)
    write_keys(tmp_path, hours=-1)
    https.on("GET /token", renewing(tmp_path))
    assert endpoint.token("inference") == "new"


def renewing(folder: Path) -> Callable[[Asked], Reply]:
    def renew(_: Asked) -> Reply:
        write_keys(folder, inference="new")
        return as_json({})

    return renew


@pytest.fixture
def proxy(nobody: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The environment names a proxy for everything, where nothing listens."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in VARIABLES:
        monkeypatch.setenv(name, nobody)
        monkeypatch.setenv(name.upper(), nobody)
    return nobody


@pytest.fixture
def socks(proxy: str, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in VARIABLES:
        monkeypatch.setenv(name, proxy.replace("http:", "socks5:"))
        monkeypatch.setenv(name.upper(), proxy.replace("http:", "socks5:"))
    return proxy


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".netrc").write_text("default login anonymous password me@site\n")
    monkeypatch.setenv("HOME", str(home))


@both
@pytest.mark.parametrize("hostile", ["proxy", "socks", "netrc"])
def test_every_request_arrives_with_its_own_token(
    hostile: str, ask: Ask, endpoint: Endpoint, local: LocalServer, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue(hostile)
    write_keys(endpoint.folder, hours=-1)
    local.on("GET /token", renewing(endpoint.folder))
    local.on("GET /models", as_json({"models": []}))
    ask(endpoint)
    sent = [(asked.path, asked.headers["Authorization"]) for asked in local.asked]
    assert sent == [("/token", "Bearer api"), ("/models", "Bearer man")]


@pytest.mark.parametrize("hostile", ["proxy", "socks", "netrc"])
def test_the_client_that_people_import(hostile: str, local: LocalServer, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue(hostile)
    local.on("POST /predict", as_json(FULL))
    assert Stranger(local.url, key="secret").classify(b"photo").recognized
    assert Stranger(local.url.replace("127.0.0.1", "localhost")).classify(b"photo").recognized
    with_key, without = local.asked
    assert with_key.headers["Authorization"] == "Bearer secret"
    assert "Authorization" not in without.headers


def test_a_server_elsewhere_is_asked_through_the_proxy(
    local: LocalServer, netrc: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", local.url)
    local.on("POST http://photos.example/predict", as_json(FULL))
    assert Stranger("http://photos.example", key="secret").classify(b"photo").recognized
    assert local.asked[0].headers["Authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("scheme", "reason"),
    [("http://", "Connection refused"), ("socks5://", r"httpx\[socks\]"), ("ftp://", "ftp"), ("http://x:", "port")],
)
def test_a_proxy_that_cannot_be_used_is_a_sentence(
    scheme: str, reason: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", proxy.replace("http://", scheme))
    with pytest.raises(Unreachable, match=rf"photos.example .*HTTPS_PROXY.*: .*{reason}.*NO_PROXY"):
        Stranger("http://photos.example").classify(b"photo")


def opens_connections(file: Path) -> bool:
    """Tell whether a file opens a connection by itself, for which the environment would choose the way."""
    makers = {"Session", "Client", "AsyncClient", "insecure_channel", "secure_channel", "urlopen"}
    makers |= {"get", "post", "put", "delete", "head", "request", "stream"}
    return any(
        isinstance(node, ast.Call)
        and isinstance(called := node.func, ast.Attribute)
        and isinstance(called.value, ast.Name)
        and called.value.id in {"requests", "httpx", "grpc", "urllib"}
        and called.attr in makers
        for node in ast.walk(ast.parse(file.read_text()))
    )


def test_nothing_else_opens_connections() -> None:
    found = {
        str(file.relative_to(paths.ROOT))
        for file in (paths.ROOT / "densenet_serving").rglob("*.py")
        if opens_connections(file)
    }
    assert found - OTHER_SERVERS == {"densenet_serving/client/transport.py"}
