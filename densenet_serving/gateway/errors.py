"""Every refusal of the gateway, with its HTTP status.

    GatewayError
    ├── BadRequest          400  no file, no form, a form that was cut short, a wrong parameter, another host
    ├── Unauthorized        401  no API key, or one that is not valid
    ├── Forbidden           403  a page of another origin
    ├── RequestTimeout      408  the upload took too long
    ├── PayloadTooLarge     413  too many bytes or files
    ├── UnsupportedMedia    415  a compression that the gateway cannot undo
    ├── TooManyRequests     429  more than the key's rate
    └── ServiceUnavailable  503  busy, or TorchServe does not answer

Anything else that is raised is a bug: the client gets a 500 and the traceback goes to the log.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from handler.errors import RequestError

# TorchServe names the type of an error after its Java class. These do not follow from the name that Python gives the
# status; newer ones call 413 otherwise.
TORCHSERVE_TYPES = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestEntityTooLargeException",
    HTTPStatus.NOT_FOUND: "ResourceNotFoundException",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalServerException",
}
# Of a refusal because too much is asked at a time. guards/messages.py counts those that have it.
RETRY_SOON = {"Retry-After": "1"}
UNEXPECTED = "The gateway failed on this request: its log holds the reason."


class GatewayError(Exception):
    """Root of the tree. The text is one sentence for the person who meets it."""

    status: ClassVar[HTTPStatus]

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = headers

    def response(self) -> Response:
        return error_response(self.status, str(self), self.headers)


class BadRequest(GatewayError):
    status = HTTPStatus.BAD_REQUEST


class Unauthorized(GatewayError):
    status = HTTPStatus.UNAUTHORIZED


class Forbidden(GatewayError):
    status = HTTPStatus.FORBIDDEN


class RequestTimeout(GatewayError):
    status = HTTPStatus.REQUEST_TIMEOUT


class PayloadTooLarge(GatewayError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class UnsupportedMedia(GatewayError):
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class TooManyRequests(GatewayError):
    status = HTTPStatus.TOO_MANY_REQUESTS


class ServiceUnavailable(GatewayError):
    status = HTTPStatus.SERVICE_UNAVAILABLE


def refused(error: RequestError) -> GatewayError:
    """Return the gateway's own error for one of the handler's, whose code it shares."""
    kinds = (PayloadTooLarge, UnsupportedMedia)
    kind = next((kind for kind in kinds if kind.status == error.status), BadRequest)
    return kind(str(error))


def error_content(status: int, message: str) -> dict[str, Any]:
    """Build an error of TorchServe's shape, which all errors of the gateway have."""
    known = HTTPStatus(status)
    kind = TORCHSERVE_TYPES.get(known, known.name.title().replace("_", "") + "Exception")
    return {"code": known.value, "type": kind, "message": message}


def error_body(status: int, message: str) -> bytes:
    return json.dumps(error_content(status, message), ensure_ascii=False, separators=(",", ":")).encode()


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(error_body(status, message), status, headers, "application/json")


def install(app: FastAPI) -> None:
    """Answer every error of the application, expected or not, with JSON of TorchServe's shape."""

    @app.exception_handler(GatewayError)
    async def refuse(_: Request, error: GatewayError) -> Response:
        return error.response()

    @app.exception_handler(RequestError)
    async def refuse_as_the_handler_does(_: Request, error: RequestError) -> Response:
        return refused(error).response()

    @app.exception_handler(HTTPException)
    async def not_served(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path} is not served ({error.detail}): see /docs."
        return error_response(error.status_code, message, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return BadRequest("The upload was cut short: send it again.").response()  # for the log: the client is gone

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED)
