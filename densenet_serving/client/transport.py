"""Every connection to a server of ours: its own address, its own certificate, and nothing from the environment.

A proxy that the environment names would get the tokens, and could not reach this machine's loopback address. An entry
of ~/.netrc would take the place of a token. So neither is ever read.
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

import httpx

from densenet_serving.errors import CommandError

CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python does not name


def connect(certificate: str = "", **options: Any) -> httpx.Client:
    """Open connections that trust the server's certificate and no other. Raises CommandError."""
    return httpx.Client(**_own(certificate) | options)


def connect_async(certificate: str = "", **options: Any) -> httpx.AsyncClient:
    """Open the same for asyncio."""
    return httpx.AsyncClient(**_own(certificate) | options)


def _own(certificate: str) -> dict[str, Any]:
    return {
        "verify": pinned(certificate),
        "trust_env": False,
        "limits": httpx.Limits(),
        "headers": {"Accept-Encoding": "identity"},
    }


def pinned(certificate: str) -> ssl.SSLContext:
    """Return an SSL context that trusts one certificate and no other, without one none at all. Raises CommandError.

    A server on this machine has a loopback address, which no public authority puts into a certificate. So it counts
    whoever issued it, for whatever name and time.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if certificate:
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | NO_CHECK_TIME
        context.load_verify_locations(cadata=der_of(Path(certificate)))
    return context


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
