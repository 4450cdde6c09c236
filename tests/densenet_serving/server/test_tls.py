from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, PrivateFormat

from densenet_serving.errors import CommandError
from densenet_serving.server import tls
from tests import certificates
from tests.certificates import Pair

PLAIN = {
    "inference_address": "http://127.0.0.1:1",
    "management_address": "http://127.0.0.1:2",
    "metrics_address": "http://127.0.0.1:3",
}


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
