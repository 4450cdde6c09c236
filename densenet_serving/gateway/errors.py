"""What the gateway refuses beside the handler's RequestErrors, and how every error is answered.

    RequestError (handler/errors.py, which has 400, 413 and 415 too)
    ├── Unauthorized        401  no API key, or one that is not valid
    ├── Forbidden           403  a page of another origin
    ├── RequestTimeout      408  the upload took too long
    ├── TooManyRequests     429  more than the key's rate
    └── ServiceUnavailable  503  a file or TorchServe does not answer
        └── Busy                 too much is asked at a time

Anything else that is raised is a bug: the client gets a 500 and the traceback goes to the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from handler.answers import CONTENT_TYPE, describe_error, encode
from handler.errors import BadRequest, RequestError, ServiceUnavailable

UNEXPECTED = "The gateway failed on this request: its log holds the reason."


class Unauthorized(RequestError):
    status = HTTPStatus.UNAUTHORIZED


class Forbidden(RequestError):
    status = HTTPStatus.FORBIDDEN


class RequestTimeout(RequestError):
    status = HTTPStatus.REQUEST_TIMEOUT


class TooManyRequests(RequestError):
    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Busy(ServiceUnavailable):
    """Too much is asked at a time. A client may send the request again soon."""

    retry_after = 1


def response_to(error: RequestError) -> Response:
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
    return error_response(error.status, str(error), headers)


def error_body(status: int, message: str) -> bytes:
    return encode(describe_error(status, message))


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return Response(error_body(status, message), status, headers, CONTENT_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of the application, expected or not, with JSON of TorchServe's shape."""

    @app.exception_handler(RequestError)
    async def refuse(_: Request, error: RequestError) -> Response:
        return response_to(error)

    @app.exception_handler(HTTPException)
    async def not_served(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path} is not served ({error.detail}): see /docs."
        return error_response(error.status_code, message, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, __: ClientDisconnect) -> Response:
        return response_to(BadRequest("The upload was cut short: send it again."))  # for the log: the client is gone

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, UNEXPECTED)
