"""Everything the gateway itself refuses, with its HTTP status. The JSON is TorchServe's own shape.

    GatewayError
    ├── BadRequest             400  no file, a body that is no form or was cut short, a wrong parameter, another host
    ├── Unauthorized           401  no API key, or one that is not valid
    ├── Forbidden              403  a page of another origin
    ├── RequestTimeout         408  the upload took too long
    ├── RequestEntityTooLarge  413  too many bytes or files
    ├── TooManyRequests        429  more than the key's rate
    └── ServiceUnavailable     503  busy, or TorchServe does not answer

Anything else that is raised is a bug: it is answered with 500 and its traceback goes to the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

# TorchServe names the type of an error after its Java class.
TORCHSERVE_TYPES = {
    HTTPStatus.NOT_FOUND: "ResourceNotFoundException",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalServerException",
}
UNEXPECTED = "The gateway failed on this request: its log holds the reason."


class GatewayError(Exception):
    """Root of the tree. The text is one sentence for the person who meets it."""

    status: ClassVar[HTTPStatus]

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.headers = headers

    def response(self) -> Response:
        content = content_of(self.status, f"{type(self).__name__}Exception", str(self))
        return JSONResponse(content, self.status, self.headers)


class BadRequest(GatewayError):
    status = HTTPStatus.BAD_REQUEST


class Unauthorized(GatewayError):
    status = HTTPStatus.UNAUTHORIZED


class Forbidden(GatewayError):
    status = HTTPStatus.FORBIDDEN


class RequestTimeout(GatewayError):
    status = HTTPStatus.REQUEST_TIMEOUT


class RequestEntityTooLarge(GatewayError):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class TooManyRequests(GatewayError):
    status = HTTPStatus.TOO_MANY_REQUESTS


class ServiceUnavailable(GatewayError):
    status = HTTPStatus.SERVICE_UNAVAILABLE


def content_of(status: int, type_: str, message: str) -> dict[str, Any]:
    return {"code": int(status), "type": type_, "message": message}


def type_of(status: int) -> str:
    """Name the type of an error of which only the status is known."""
    known = HTTPStatus(status)
    return TORCHSERVE_TYPES.get(known, known.name.title().replace("_", "") + "Exception")


def sentence_of(details: list[ErrorDetails] | Any) -> str:
    """Say what is wrong with the first parameter that pydantic refused."""
    first = details[0]
    name, message = first["loc"][-1], first["msg"]
    if first["type"] == "extra_forbidden":
        return (
            f"Unknown parameter {str(name)[:40]}: /predict takes top_k and min_probability; "
            "/explain takes class_id, overlay and min_probability."
        )
    return f"The parameter {name} cannot be {str(first['input'])[:40]!r}: {message[0].lower()}{message[1:]}."


def install(app: FastAPI) -> None:
    """Let every error leave the application as JSON of one shape."""

    @app.exception_handler(GatewayError)
    async def refused(_: Request, error: GatewayError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return BadRequest(sentence_of(error.errors())).response()

    @app.exception_handler(HTTPException)
    async def not_served(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path} is not served ({error.detail}): see /docs."
        content = content_of(error.status_code, type_of(error.status_code), message)
        return JSONResponse(content, error.status_code, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return BadRequest("The upload was cut short: send it again.").response()  # for the log, nobody is there to read

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        return JSONResponse(content_of(status, type_of(status), UNEXPECTED), status)
