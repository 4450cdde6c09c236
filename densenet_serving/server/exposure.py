"""Find the addresses that other machines can reach. None of them may take models, since a model is code."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from densenet_serving.client.endpoint import is_loopback
from densenet_serving.errors import CommandError

# The addresses at which models can be registered, and the others.
MANAGEMENT = ("management_address", "grpc_management_address")
OTHERS = ("inference_address", "metrics_address", "grpc_inference_address")


def check_models_cannot_come_from_elsewhere(values: Mapping[str, str]) -> None:
    """Raise CommandError if another machine could register a model with these settings of TorchServe."""
    if takes_models(values) and (names := reachable(values, MANAGEMENT)):
        raise CommandError(
            f"{listed(values, names)} lets other machines register models, which can run any code here: "
            "serve with --fixed-models, or on 127.0.0.1."
        )


def warning(values: Mapping[str, str]) -> str | None:
    """Return a warning for settings that serve other machines while tokens can register models."""
    if takes_models(values) and (names := reachable(values, OTHERS)):
        return (
            f"{listed(values, names)} is open to other machines while management tokens can register models: "
            "keep those tokens on this machine, or serve with --fixed-models."
        )
    return None


def takes_models(values: Mapping[str, str]) -> bool:
    return values.get("enable_model_api", "false").lower() == "true"


def reachable(values: Mapping[str, str], names: tuple[str, ...]) -> list[str]:
    """Return the `names` whose address other machines reach. TorchServe's defaults are loopback."""
    return [name for name in names if name in values and not _is_local(values[name])]


def listed(values: Mapping[str, str], names: list[str]) -> str:
    return ", ".join(f"{name}={values[name]}" for name in names)


def _is_local(address: str) -> bool:
    """Return whether an address, a URL, a host for gRPC or unix:PATH, is of this machine alone."""
    return address.startswith("unix:") or is_loopback(urlsplit(address).hostname or address)
