"""Call a server by its address alone, without a run folder: the gateway with a key, or TorchServe with a token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import densenet_client
from densenet_serving.errors import ApiError, CommandError
from densenet_serving.options import MODEL


class RemoteClient:
    """A client of one server. Safe to share between threads. `model` is TorchServe's; the gateway chooses its own."""

    def __init__(self, url: str, key: str | None, token: str | None, model: str | None) -> None:
        if model and not token:
            raise CommandError(
                "The gateway chooses the model itself: leave --model out, or ask TorchServe with --token."
            )
        try:
            self._client = densenet_client.Client(url, key=key, token=token, model=model or MODEL)
        except densenet_client.ClientError as error:
            raise CommandError(str(error)) from error
        self._name = model or (MODEL if token else "the model")

    def models(self) -> list[str]:
        """Name the only model that this client asks; a gateway's own choice is called "the model"."""
        return [self._name]

    def predict(self, _model: str, image: bytes, parameters: Mapping[str, Any]) -> Any:
        """Classify one image; returns the decoded JSON answer. Raises ApiError or CommandError."""
        return self._ask("predictions", image, parameters)

    def explain(self, _model: str, image: bytes, parameters: Mapping[str, Any]) -> Any:
        """Explain one image; returns its answer, `overlay` being a PNG in base64. Raises ApiError or CommandError."""
        return self._ask("explanations", image, parameters)

    def _ask(self, question: densenet_client.Question, image: bytes, parameters: Mapping[str, Any]) -> Any:
        try:
            return self._client.ask(question, image, parameters)
        except densenet_client.Refused as error:
            refusal = {"code": error.code, "type": error.type, "message": error.message}
            raise ApiError(error.message, refusal) from error
        except densenet_client.ClientError as error:
            raise CommandError(str(error)) from error
