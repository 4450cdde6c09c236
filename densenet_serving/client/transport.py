"""Every connection to a server of ours: its own address, its own certificate, and nothing from the environment.

A proxy that the environment names would get the tokens, and could not reach this machine's loopback address. An entry
of ~/.netrc would take the place of a token. So neither is ever read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter

from densenet_serving.client.tls import PinnedCertificate, pinned

if TYPE_CHECKING:  # it takes long to import
    import httpx


def session(certificate: str = "") -> requests.Session:
    """Open an HTTP session that trusts the server's certificate and no other. Raises CommandError."""
    opened = requests.Session()
    opened.trust_env = False
    opened.mount("https://", adapter(certificate))
    return opened


def adapter(certificate: str = "", **options: Any) -> HTTPAdapter:
    """Return what such a session is mounted with, for options that it has for some addresses. Raises CommandError."""
    return PinnedCertificate(Path(certificate), **options) if certificate else HTTPAdapter(**options)


def async_client(certificate: str = "", **options: Any) -> httpx.AsyncClient:
    """Open the same for asyncio, with options of httpx. Raises CommandError."""
    import httpx

    trusted = pinned(Path(certificate)) if certificate else True
    return httpx.AsyncClient(verify=trusted, trust_env=False, **options)
