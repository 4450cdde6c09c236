"""POST /predict, the tutorial's endpoint: photos go in, the name of what is on each comes out."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer

from densenet_serving.gateway.errors import GatewayError
from densenet_serving.gateway.routes import uploads
from densenet_serving.gateway.routes.schemas import REQUEST_BODY, Error, Parameters, Response
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.torchserve.answer import Answer
from densenet_serving.gateway.torchserve.upstream import Upstream

EMPTY = "The file is empty: send the photo's bytes."
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": Response, "description": "An object for one file, a list in the order sent for several."},
    400: {"model": Error, "description": "No file, a file that is empty, damaged or no image, or a wrong parameter."},
    401: {"model": Error, "description": "No valid API key, if the gateway asks for one."},
    408: {"model": Error, "description": "The upload came too slowly."},
    413: {"model": Error, "description": "Too many bytes, pixels or files."},
    429: {"model": Error, "description": "More requests than the API key may make, or too much decoding."},
    503: {"model": Error, "description": "Busy, or TorchServe does not answer."},
    "default": {"model": Error, "description": "Every error has this form."},  # keeps FastAPI's own 422 out
}
# densenet_serving/gateway/guards/access.py checks the key. This lets /docs ask for it.
bearer = HTTPBearer(auto_error=False, description="An API key, if the gateway asks for one.")


def router(upstream: Upstream, settings: GatewaySettings) -> APIRouter:
    routes = APIRouter()

    @routes.post(
        "/predict",
        responses=RESPONSES,
        openapi_extra={"requestBody": REQUEST_BODY},
        dependencies=[Depends(bearer)],
    )
    async def predict(request: Request, query: Annotated[Parameters, Query()]) -> JSONResponse:
        """Name what is on a photo, or on each of several, in the order sent."""
        upload = await uploads.read(request, settings)
        parameters = uploads.parameters_of(request, query, upload)
        answers = await asyncio.gather(*(classify(upstream, photo, parameters) for photo in upload.photos))
        return respond([answer if parameters else briefly(answer) for answer in answers])

    return routes


async def classify(upstream: Upstream, photo: bytes | GatewayError, parameters: dict[str, Any]) -> Answer:
    """Ask TorchServe about one photo. A 415 becomes a 400, the only refusal that the tutorial's clients know."""
    if isinstance(photo, GatewayError):
        return Answer.error(photo.status, str(photo))
    if not photo:
        return refusal(EMPTY)
    answer = await upstream.predict(photo, parameters)
    return refusal(answer.message) if answer.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE else answer


def refusal(message: str) -> Answer:
    return Answer.error(HTTPStatus.BAD_REQUEST, message)


def briefly(answer: Answer) -> Answer:
    """Shorten a good answer to the two fields that the tutorial's clients know.

    The answer of another project's handler stays as it is. So does that of a multi-label model, which always has
    predictions and says too little without them.
    """
    content = answer.content
    if not answer.ok or not isinstance(content, dict) or not content.get("recognized") or "predictions" in content:
        return answer
    return Answer(answer.status, {name: answer.content.get(name) for name in ("class_id", "class_name")})


def respond(answers: list[Answer]) -> JSONResponse:
    """Answer one file with an object and several with a list, as TorchServe's handler does.

    The status is 200 if at least one file was classified, and otherwise that of the first error.
    """
    if len(answers) == 1:
        return JSONResponse(answers[0].content, answers[0].status, answers[0].headers)
    items = [answer.content if answer.ok else {"error": answer.content} for answer in answers]
    if any(answer.ok for answer in answers):
        return JSONResponse(items)
    return JSONResponse(items, answers[0].status, answers[0].headers)
