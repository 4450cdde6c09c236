"""Call a running TorchServe over gRPC: what `densenet classify` needs, with the answers and errors of HTTP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from densenet_serving.client import transport
from densenet_serving.client.endpoint import Endpoint, Scope
from densenet_serving.client.http import TIMEOUT_SECONDS, TOO_LARGE
from densenet_serving.client.patience import NO_WORKER, patiently
from densenet_serving.client.protos.torchserve_pb2 import (
    ListModelsRequest,
    ManagementResponse,
    PredictionResponse,
    PredictionsRequest,
)
from densenet_serving.client.tokens import REFUSED_KEY, TokenCache, refused_token
from densenet_serving.errors import ApiError, CommandError

SERVICES: dict[Scope, str] = {
    "inference": "org.pytorch.serve.grpc.inference.InferenceAPIsService",
    "management": "org.pytorch.serve.grpc.management.ManagementAPIsService",
}
# The HTTP status of an error by its Java class: TorchServe's gRPC status is INTERNAL for most of them.
STATUS = {
    "BadRequestException": HTTPStatus.BAD_REQUEST,
    "ModelNotFoundException": HTTPStatus.NOT_FOUND,
    "ModelVersionNotFoundException": HTTPStatus.NOT_FOUND,
    "ServiceUnavailableException": HTTPStatus.SERVICE_UNAVAILABLE,
}
# Models on a page, the most that TorchServe gives. Without a limit it gives empty pages forever.
PAGE = 1000

Answer = TypeVar("Answer", bound=Message)


class GrpcClient:
    """A client of one server. Safe to share between threads."""

    def __init__(self, endpoint: Endpoint, token: str | None = None) -> None:
        self._tokens = TokenCache(endpoint, token)
        self._addresses: dict[Scope, str] = {scope: endpoint.grpc(scope) for scope in SERVICES}
        self._channels = {
            scope: transport.channel(address, endpoint.certificate) for scope, address in self._addresses.items()
        }

    def predict(self, model: str, image: bytes, parameters: Mapping[str, Any] | None = None, version: str = "") -> Any:
        """Classify one image; returns the decoded JSON answer. Raises ApiError or CommandError.

        Tries again if the server is busy or has lost a worker. TorchServe's gRPC drops the handler's status, so it is
        read from the body of the answer.
        """
        fields = {"data": image} | {name: str(value).encode() for name, value in (parameters or {}).items()}
        request = PredictionsRequest(model_name=model, model_version=version, input=fields)
        return patiently(lambda: self._predict(request))

    def models(self) -> dict[str, str]:
        """Map each registered model to the file it came from."""
        listed: dict[str, str] = {}
        page: str | None = "0"
        while page is not None:
            request = ListModelsRequest(limit=PAGE, next_page_token=int(page))
            answer = json.loads(self._call("management", "ListModels", request, ManagementResponse).msg)
            listed |= {model["modelName"]: model["modelUrl"] for model in answer["models"]}
            page = answer.get("nextPageToken")
        return listed

    def _predict(self, request: PredictionsRequest) -> Any:
        written = self._call("inference", "Predictions", request, PredictionResponse).prediction
        try:
            answer = json.loads(written)
        except ValueError:  # another project's handler may write any text
            return written.decode(errors="replace")
        if isinstance(answer, dict) and set(answer) == {"code", "type", "message"}:
            raise ApiError(answer["message"], answer)
        return answer

    def _call(
        self, scope: Scope, method: str, request: Message, answer: type[Answer], timeout: float = TIMEOUT_SECONDS
    ) -> Answer:
        call = self._channels[scope].unary_unary(
            f"/{SERVICES[scope]}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )

        def ask(token: str) -> Answer:
            try:
                return call(request, timeout=timeout, metadata=(("authorization", f"Bearer {token}"),))
            except grpc.RpcError as error:
                raise _error_of(error, self._addresses[scope], timeout) from error

        return self._tokens.call(scope, ask)


def _error_of(error: grpc.RpcError, address: str, timeout: float) -> CommandError:
    """Turn an error of gRPC into the one that densenet_serving.client.http raises for the same request.

    TorchServe describes its own errors with a message and, on the last line, the Java class of the exception.
    """
    code, details = error.code(), error.details() or ""
    message, _, java_class = details.rpartition("\n")
    kind = java_class.rpartition(".")[2] if message else "Error"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return CommandError(f"{address} did not answer within {timeout:.0f} s: is its worker alive?")
    if code is grpc.StatusCode.UNAVAILABLE and not message:
        return CommandError(
            f"No server answers at {address}, or its certificate is not for that address: start one with "
            "densenet serve."
        )
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return _refusal(HTTPStatus.BAD_REQUEST, REFUSED_KEY, refused_token(address))
    if code is grpc.StatusCode.CANCELLED:  # by the server, past max_request_size and for nothing else
        return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Entity Too Large", TOO_LARGE)
    if NO_WORKER in message:
        kind = "ServiceUnavailableException"
    unnamed = (
        HTTPStatus.SERVICE_UNAVAILABLE if code is grpc.StatusCode.UNAVAILABLE else HTTPStatus.INTERNAL_SERVER_ERROR
    )
    reason = message or f"{address} answered {code.name} and no more ({details or 'no details'}): its logs say why."
    return _refusal(STATUS.get(kind, unnamed), kind, reason)


def _refusal(status: HTTPStatus, kind: str, message: str) -> ApiError:
    return ApiError(message, {"code": int(status), "type": kind, "message": message})
