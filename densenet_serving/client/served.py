"""The server that a command asks, and the model that answers if a person names none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import densenet_client
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.errors import ApiError, CommandError
from densenet_serving.options import MODEL

NOT_SERVED = "ModelNotFoundException"  # TorchServe's type of the error for a model that it does not have
CHOOSE = "Choose one that the server has with --model: densenet models list, on its machine, names them."


class Asks(Protocol):
    """A client of one server. Its methods raise ApiError or CommandError."""

    def predict(self, model: str, image: bytes, parameters: Mapping[str, Any], /) -> Any: ...
    def explain(self, model: str, image: bytes, parameters: Mapping[str, Any], /) -> Any: ...


class RemoteClient:
    """A client of a server by its address alone: of the gateway with a key, or of TorchServe with a token.

    Safe to share between threads. The gateway chooses its model itself, which is called "the model" here.
    """

    def __init__(self, url: str, key: str | None, token: str | None, model: str | None) -> None:
        if model and not token:
            raise CommandError(
                "The gateway chooses the model itself: leave --model out, or ask TorchServe with --token."
            )
        self.model = model or (MODEL if token else "the model")
        with as_commands_do():
            self._client = densenet_client.Client(url, key=key, token=token, model=model or MODEL)

    def predict(self, _model: str, image: bytes, parameters: Mapping[str, Any]) -> Any:
        with as_commands_do():
            return self._client.ask("predictions", image, parameters)

    def explain(self, _model: str, image: bytes, parameters: Mapping[str, Any]) -> Any:
        with as_commands_do():
            return self._client.ask("explanations", image, parameters)


@contextmanager
def as_commands_do() -> Iterator[None]:
    """Raise the errors of densenet_client as those of commands."""
    try:
        yield
    except densenet_client.Refused as error:
        refusal = {"code": error.code, "type": error.type, "message": error.message}
        raise ApiError(error.message, refusal) from error
    except densenet_client.ClientError as error:
        raise CommandError(str(error)) from error


def connect(url: str | None, key: str | None, token: str | None, model: str | None, run_dir: Path) -> tuple[Asks, str]:
    """Return a client of the server that a command's options name, and the model to ask. Raises CommandError.

    A token given by hand is an inference token, which may not list models: then it is densenet121 that is asked, and
    `advice_if_not_served` says what to do if that is not there.
    """
    if url:
        remote = RemoteClient(url, key, token, model)
        return remote, remote.model
    client = Client(Endpoint.find(run_dir), token)
    return client, model or (MODEL if token else default_model(client.models()))


def default_model(served: Iterable[str]) -> str:
    """Return densenet121 if it is served, or else the only model. Raises CommandError if there is a choice or none."""
    names = list(served)
    if MODEL in names:
        return MODEL
    if len(names) == 1:
        return names[0]
    raise CommandError(f"The server has {', '.join(names) or 'no model'}: choose one with --model.")


@contextmanager
def advice_if_not_served() -> Iterator[None]:
    """Add to the server's error for a model that it does not have how to choose another. Raises ApiError."""
    try:
        yield
    except ApiError as error:
        if error.error["type"] != NOT_SERVED:
            raise
        message = f"{error}. {CHOOSE}"
        raise ApiError(message, error.error | {"message": message}) from error
