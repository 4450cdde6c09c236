"""The server that a command asks, and the model that answers if a person names none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import densenet_client
from densenet_client import Question
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.errors import ApiError, CommandError
from densenet_serving.options import MODEL

NOT_SERVED = "ModelNotFoundException"  # TorchServe's type of the error for a model that it does not have
CHOOSE = "Choose one that the server has with --model: densenet models list, on its machine, names them."

# Asks about one image, with parameters of which None is left to the server; returns the decoded JSON answer. Safe to
# share between threads. Raises ApiError or CommandError.
Ask = Callable[[Question, bytes, Mapping[str, Any]], Any]


def find_server(
    url: str | None, key: str | None, token: str | None, model: str | None, run_dir: Path
) -> tuple[Ask, str]:
    """Return what asks the server that a command's options name, and the name of its model. Raises CommandError.

    With `url` that is a gateway, which chooses its model itself, or with a token TorchServe. A token given by hand is
    an inference token, which may not list models: then densenet121 is asked.
    """
    if url and model and not token:
        raise CommandError("The gateway chooses the model itself: leave --model out, or ask TorchServe with --token.")
    if not url:
        client = Client(Endpoint.find(run_dir), token)
        name = model or (MODEL if token else default_model(client.models()))
        return as_commands_do()(partial(client.ask, model=name)), name
    with as_commands_do():
        remote = densenet_client.Client(url, key=key, token=token, model=model or MODEL)
    return as_commands_do()(remote.ask), (model or MODEL) if token else "the model"


def default_model(served: Iterable[str]) -> str:
    """Return densenet121 if it is served, or else the only model. Raises CommandError if there is a choice or none."""
    names = list(served)
    if MODEL in names:
        return MODEL
    if len(names) == 1:
        return names[0]
    raise CommandError(f"The server has {', '.join(names) or 'no model'}: choose one with --model.")


@contextmanager
def as_commands_do() -> Iterator[None]:
    """Raise the errors of densenet_client as those of commands; for a model that is not served, say how to choose."""
    try:
        yield
    except densenet_client.Refused as error:
        raise advised({"code": error.code, "type": error.type, "message": error.message}) from error
    except densenet_client.ClientError as error:
        raise CommandError(str(error)) from error
    except ApiError as error:
        raise advised(error.error) from error


def advised(refusal: dict[str, Any]) -> ApiError:
    message = refusal["message"]
    if refusal["type"] == NOT_SERVED:
        message = f"{message}. {CHOOSE}"
    return ApiError(message, refusal | {"message": message})
