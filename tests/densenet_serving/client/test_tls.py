from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.errors import CommandError
from tests import certificates
from tests.certificates import Pair
from tests.densenet_serving.conftest import write_keys
from tests.local_server import Asked, LocalServer, Reply, as_json, serve


@pytest.fixture
def https(pair: Pair) -> Iterator[LocalServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    with serve(context) as running:
        running.on("GET /models", as_json({"models": []}))
        yield running


def endpoint_of(https: LocalServer, folder: Path, certificate: Path | str) -> Endpoint:
    write_keys(folder)
    return Endpoint(https.url, https.url, https.url, folder, str(certificate))


def test_the_client_trusts_the_servers_certificate(https: LocalServer, pair: Pair, tmp_path: Path) -> None:
    assert Client(endpoint_of(https, tmp_path, pair.certificate)).models() == {}


def test_a_chain_is_as_good(https: LocalServer, pair: Pair, tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    chain.write_text(
        pair.certificate.read_text() + certificates.make(tmp_path, "authority.example").certificate.read_text()
    )
    assert Client(endpoint_of(https, tmp_path, chain)).models() == {}


def test_the_client_trusts_no_other(https: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one for the right name, nor one that the machine trusts; no request is sent, hence no token."""
    other = certificates.make(tmp_path).certificate
    for trusted in ("", str(other)):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
        client = Client(endpoint_of(https, tmp_path, other))
        for ask in (client.models, lambda client=client: client.predict("m", b"")):
            with pytest.raises(
                CommandError, match=r"does not show the certificate .*127.0.0.1.pem: restart the server"
            ):
                ask()
    assert https.asked == []


def test_an_expired_token_is_renewed_over_tls_too(https: LocalServer, pair: Pair, tmp_path: Path) -> None:
    def renew(_: Asked) -> Reply:
        write_keys(tmp_path, inference="new")
        return as_json({})

    endpoint = endpoint_of(https, tmp_path, pair.certificate)
    write_keys(tmp_path, hours=-1)
    https.on("GET /token", renew)
    assert endpoint.token("inference") == "new"
