"""TLS: what TorchServe needs for it, and a client that trusts the server's own certificate and no other."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from requests.adapters import HTTPAdapter

from scripts.errors import CommandError

ADDRESSES = ("inference_address", "management_address", "metrics_address")
FILES = ("certificate_file", "private_key_file")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
PLAIN_KEY = "-----BEGIN PRIVATE KEY-----"
# The DER form of rsaEncryption, 1.2.840.113549.1.1.1 (RFC 8017): the kind of key that a certificate is for.
RSA = bytes.fromhex("06092a864886f70d010101")


def secure(values: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return the settings with https addresses, where they name a certificate; relative paths start at `folder`.

    Raises CommandError where the certificate cannot be used, and for an https address without one: TorchServe would
    make one up, which no client can verify.
    """
    given = [name for name in FILES if name in values]
    if not given:
        for name in ADDRESSES:
            if values[name].startswith("https:"):
                raise CommandError(f"{name} is https, but there is no certificate: give --tls-cert and --tls-key.")
        return dict(values)
    if len(given) < len(FILES):
        raise CommandError("A certificate and its private key belong together: give both --tls-cert and --tls-key.")
    certificate, key = ((folder / values[name]).resolve() for name in FILES)
    check_pair(certificate, key)
    addresses = {name: re.sub("^http:", "https:", values[name]) for name in ADDRESSES}
    files = {"certificate_file": str(certificate), "private_key_file": str(key), "enable_grpc_ssl": "true"}
    return dict(values) | addresses | files


def check_pair(certificate: Path, key: Path) -> None:
    """Prove that TorchServe 0.12 can serve with these files; it ends with a Java stack trace at others.

    Raises CommandError.
    """
    if RSA not in der_of(certificate):
        raise CommandError(f"TorchServe serves RSA certificates only, and {certificate} is another: have one made.")
    if PLAIN_KEY not in _read(key):
        raise CommandError(
            f"{key} holds no plain private key in PKCS #8, the form that TorchServe reads: "
            f"openssl pkcs8 -topk8 -nocrypt -in {key.name} -out {key.stem}-pkcs8.pem makes one."
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise CommandError(f"{key} is damaged or not the key of {certificate}: give the two that belong.") from error


def der_of(certificate: Path) -> bytes:
    """Return the server's own certificate, the first in a PEM file that may hold a chain. Raises CommandError."""
    try:
        if first := CERTIFICATE.search(_read(certificate)):
            return ssl.PEM_cert_to_DER_cert(first[0])
    except ValueError:  # what stands between the lines is no base64
        pass
    raise CommandError(f"{certificate} holds no certificate in PEM form: give the server's, in a file of its own.")


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise CommandError(f"{path} cannot be read ({error.strerror}): give --tls-cert and --tls-key.") from error


def pinned(certificate: Path) -> ssl.SSLContext:
    """Return what trusts one certificate and no other, for clients that take a context. Raises CommandError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it is trusted itself, whoever issued it
    context.load_verify_locations(cadata=der_of(certificate))
    return context


class PinnedCertificate(HTTPAdapter):
    """Trusts one certificate and no other, whoever issued it and for whatever name.

    The server runs on this machine under a loopback address, which no public authority puts into a certificate.
    """

    def __init__(self, certificate: Path, **options: Any) -> None:
        self._fingerprint = hashlib.sha256(der_of(certificate)).hexdigest()
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, assert_fingerprint=self._fingerprint)

    def cert_verify(self, conn: Any, *_: Any, **__: Any) -> None:
        """The fingerprint is compared instead of a chain and a name."""
        conn.cert_reqs, conn.ca_certs = "CERT_NONE", None
