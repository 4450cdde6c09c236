"""Trust a server's own certificate and no other.

The server runs on this machine under a loopback address, which no public authority puts into a certificate.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path
from typing import Any

from requests.adapters import HTTPAdapter

from densenet_serving.errors import CommandError

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def pinned(certificate: Path) -> ssl.SSLContext:
    """Return an SSL context that trusts one certificate and no other. Raises CommandError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it is trusted itself, whoever issued it
    context.load_verify_locations(cadata=der_of(certificate))
    return context


class PinnedCertificate(HTTPAdapter):
    """The same for sessions of requests: whoever issued the certificate, and for whatever name."""

    def __init__(self, certificate: Path, **options: Any) -> None:
        self._fingerprint = hashlib.sha256(der_of(certificate)).hexdigest()
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, assert_fingerprint=self._fingerprint)

    def cert_verify(self, conn: Any, *_: Any, **__: Any) -> None:
        """Compare the fingerprint instead of verifying a chain and a name."""
        conn.cert_reqs, conn.ca_certs = "CERT_NONE", None


def der_of(certificate: Path) -> bytes:
    """Return the server's own certificate, the first in a PEM file that may hold a chain. Raises CommandError."""
    try:
        if first := CERTIFICATE.search(read_pem(certificate)):
            return ssl.PEM_cert_to_DER_cert(first[0])
    except ValueError:  # what stands between the lines is no base64
        pass
    raise CommandError(f"{certificate} holds no certificate in PEM form: give the server's, in a file of its own.")


def read_pem(path: Path) -> str:
    """Read a certificate's or a key's file. Raises CommandError."""
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise CommandError(f"{path} cannot be read ({error.strerror}): give --tls-cert and --tls-key.") from error
