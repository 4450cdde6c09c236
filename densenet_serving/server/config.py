"""TorchServe's config.properties for one run: a person's settings, those that are computed, and what is refused."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from densenet_serving import properties
from densenet_serving.build.archives import Archive, load_models
from densenet_serving.client.endpoint import is_loopback
from densenet_serving.client.transport import der_of, read_pem
from densenet_serving.console import shell
from densenet_serving.errors import CommandError
from densenet_serving.server.capacity import with_heap_limit
from densenet_serving.server.ports import DEFAULT_ADDRESSES, HTTP_ADDRESSES, ports_from
from handler.cores import configured_workers, default_workers

# The addresses at which models can be registered, and the others.
TAKES_MODELS = ("management_address", "grpc_management_address")
TAKES_PHOTOS = ("inference_address", "metrics_address", "grpc_inference_address")
PAIR = ("certificate_file", "private_key_file")
PLAIN_KEY = "-----BEGIN PRIVATE KEY-----"
# The DER form of rsaEncryption, 1.2.840.113549.1.1.1 (RFC 8017): the kind of key that the certificate is for.
RSA = bytes.fromhex("06092a864886f70d010101")


def settings_of(
    config: Path, model_store: Path, archives: Iterable[Archive], port: int | None, changes: Mapping[str, str]
) -> dict[str, str]:
    """Compute the settings that TorchServe is started with: `changes` win over all others, `config` over the defaults.

    Of the model store, TorchServe loads `archives` and nothing else. Raises CommandError, also for settings with which
    another machine could register a model, which is code.
    """
    values = DEFAULT_ADDRESSES | {"default_workers_per_model": str(default_workers())} | properties.read(config)
    values |= {"model_store": str(model_store.resolve()), "load_models": load_models(archives)}
    if port is not None:
        values |= ports_from(port)
    if named := values.get("metrics_config"):  # relative to the settings' own folder
        metrics = config.resolve().parent / named
        if not metrics.is_file():
            raise CommandError(f"There is no {metrics}, which {config} names as metrics_config: correct that line.")
        values["metrics_config"] = str(metrics)
    values |= changes
    values["vmargs"] = with_heap_limit(values)
    if exposed := exposed_with_models(values, TAKES_MODELS):
        raise CommandError(
            f"{exposed} lets other machines register models, which can run any code here: "
            "serve with --fixed-models, or on 127.0.0.1."
        )
    return secure(values, config.parent)


def workers_of(archive: Archive, values: Mapping[str, str]) -> int:
    """Return how many workers TorchServe starts for an archive with these settings."""
    return configured_workers(archive.config, int(values["default_workers_per_model"]))


def exposed_with_models(values: Mapping[str, str], names: Iterable[str]) -> str:
    """List those of the addresses `names` that other machines reach while tokens can register models."""
    if values.get("enable_model_api", "false").lower() != "true":
        return ""
    return ", ".join(f"{name}={values[name]}" for name in names if not is_local(values.get(name, "127.0.0.1")))


def is_local(address: str) -> bool:
    """Return whether an address, a URL, a host for gRPC or unix:PATH, is of this machine alone."""
    return address.startswith("unix:") or is_loopback(urlsplit(address).hostname or address)


def secure(values: Mapping[str, str], folder: Path) -> dict[str, str]:
    """If the settings name a certificate, return them with https addresses. Relative paths start at `folder`.

    Raises CommandError if TorchServe cannot use the certificate, and for an https address without one: TorchServe
    would make one up, which no client can verify.
    """
    given = [name for name in PAIR if name in values]
    if not given:
        for name in HTTP_ADDRESSES:
            if values[name].startswith("https:"):
                raise CommandError(f"{name} is https, but there is no certificate: give --tls-cert and --tls-key.")
        return dict(values)
    if len(given) < len(PAIR):
        raise CommandError("A certificate and its private key belong together: give both --tls-cert and --tls-key.")
    certificate, key = ((folder / values[name]).resolve() for name in PAIR)
    check_pair(certificate, key)
    addresses = {name: re.sub("^http:", "https:", values[name]) for name in HTTP_ADDRESSES}
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
