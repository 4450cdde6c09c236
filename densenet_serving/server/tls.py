"""The settings with which TorchServe serves TLS, and the checks that its certificate and key will work."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path

from densenet_serving.client.transport import der_of, read_pem
from densenet_serving.console import shell
from densenet_serving.errors import CommandError

ADDRESSES = ("inference_address", "management_address", "metrics_address")
FILES = ("certificate_file", "private_key_file")
PLAIN_KEY = "-----BEGIN PRIVATE KEY-----"
# The DER form of rsaEncryption, 1.2.840.113549.1.1.1 (RFC 8017): the kind of key that the certificate is for.
RSA = bytes.fromhex("06092a864886f70d010101")


def secure(values: Mapping[str, str], folder: Path) -> dict[str, str]:
    """If the settings name a certificate, return them with https addresses. Relative paths start at `folder`.

    Raises CommandError if TorchServe cannot use the certificate, and for an https address without one: TorchServe
    would make one up, which no client can verify.
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
    """Check that TorchServe 0.12 can serve with these files: with others it ends with a Java stack trace.

    Raises CommandError.
    """
    if RSA not in der_of(certificate):
        raise CommandError(f"TorchServe serves RSA certificates only, and {certificate} is another: have one made.")
    if PLAIN_KEY not in read_pem(key):
        raise CommandError(
            f"{key} holds no plain private key in PKCS #8, the form that TorchServe reads: "
            f"openssl pkcs8 -topk8 -nocrypt -in {shell(key.name)} -out {shell(f'{key.stem}-pkcs8.pem')} makes one."
        )
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise CommandError(f"{key} is damaged or not the key of {certificate}: give the two that belong.") from error
