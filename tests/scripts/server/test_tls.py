from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, PrivateFormat

from scripts.client.endpoint import Endpoint
from scripts.client.http import Client
from scripts.errors import CommandError
from scripts.server import tls
from tests import certificates
from tests.certificates import Pair
from tests.local_server import Asked, LocalServer, Reply, as_json, serve
from tests.scripts.conftest import write_keys

PLAIN = {
    "inference_address": "http://127.0.0.1:1",
    "management_address": "http://127.0.0.1:2",
    "metrics_address": "http://127.0.0.1:3",
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A certificate for another name than the loopback address at which the server listens."""
    return certificates.make(tmp_path_factory.mktemp("pair"), "photos.example.org")


def files_of(pair: Pair) -> dict[str, str]:
    return {"certificate_file": str(pair.certificate), "private_key_file": str(pair.key)}


def test_a_certificate_makes_every_address_https(pair: Pair) -> None:
    values = tls.secure(PLAIN | files_of(pair) | {"job_queue_size": "1"}, Path("/elsewhere"))
    assert [values[name] for name in tls.ADDRESSES] == [f"https://127.0.0.1:{port}" for port in (1, 2, 3)]
    assert values["enable_grpc_ssl"] == "true"
    assert values["job_queue_size"] == "1"


def test_relative_paths_are_those_of_the_settings(pair: Pair) -> None:
    names = {name: Path(path).name for name, path in files_of(pair).items()}
    values = tls.secure(PLAIN | names, pair.key.parent)
    assert {name: values[name] for name in names} == files_of(pair)


def test_without_a_certificate_nothing_changes() -> None:
    assert tls.secure(PLAIN, Path()) == PLAIN


def test_an_https_address_without_a_certificate() -> None:
    """TorchServe would make one up in silence."""
    with pytest.raises(CommandError, match=r"metrics_address is https, but there is no certificate: give --tls-cert"):
        tls.secure(PLAIN | {"metrics_address": "https://127.0.0.1:3"}, Path())


@pytest.mark.parametrize("name", tls.FILES)
def test_one_without_the_other(pair: Pair, name: str) -> None:
    with pytest.raises(CommandError, match="belong together: give both --tls-cert and --tls-key"):
        tls.secure(PLAIN | {name: files_of(pair)[name]}, Path())


def test_the_key_of_another_certificate(pair: Pair, tmp_path: Path) -> None:
    other = certificates.make(tmp_path)
    with pytest.raises(CommandError, match=r"127.0.0.1.key is damaged or not the key of .*photos.example.org.pem"):
        tls.check_pair(pair.certificate, other.key)


def test_a_key_that_is_not_rsa(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="TorchServe serves RSA certificates only"):
        tls.check_pair(*certificates.make(tmp_path, key=ec.generate_private_key(ec.SECP256R1())))


@pytest.mark.parametrize("encrypted", [True, False])
def test_a_key_in_another_form(tmp_path: Path, encrypted: bool) -> None:
    form = PrivateFormat.PKCS8 if encrypted else PrivateFormat.TraditionalOpenSSL
    pair = certificates.make(tmp_path, form=form, encryption=BestAvailableEncryption(b"x") if encrypted else None)
    with pytest.raises(CommandError, match=r"no plain private key in PKCS #8.*: openssl pkcs8 -topk8 -nocrypt -in"):
        tls.check_pair(*pair)


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate(pair: Pair, tmp_path: Path, text: str) -> None:
    (tmp_path / "no.pem").write_text(text)
    with pytest.raises(CommandError, match=r"no.pem holds no certificate in PEM form"):
        tls.check_pair(tmp_path / "no.pem", pair.key)


def test_a_damaged_key(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text(pair.key.read_text().replace("M", "N"))
    with pytest.raises(CommandError, match=r"a.key is damaged or not the key of"):
        tls.check_pair(pair.certificate, tmp_path / "a.key")


def test_a_missing_file(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"cannot be read \(No such file or directory\): give --tls-cert"):
        tls.check_pair(pair.certificate, tmp_path / "nowhere.key")


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
