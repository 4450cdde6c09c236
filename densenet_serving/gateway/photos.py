"""POST /predict, the tutorial's endpoint, names what is on each photo; POST /explain shows all that is known of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from densenet_serving.gateway import schemas, uploads
from densenet_serving.gateway.answer import JSON, PNG, Answer
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.upstream import Upstream
from handler.answers import encode
from handler.errors import BadRequest, RequestError
from handler.parameters import EXPLANATION, PREDICTION

EMPTY = "The file is empty: send the photo's bytes."
TWO_FILES = "The request has several files: send one, since one picture shows one photo."


def router(upstream: Upstream, settings: GatewaySettings) -> APIRouter:
    routes = APIRouter()

    @routes.post("/predict", **schemas.PREDICT)
    async def predict(request: Request) -> Response:
        """Name what is on a photo, or on each of several, in the order sent."""
        upload = await uploads.read(request, settings)
        parameters = uploads.parameters_of(request, upload, PREDICTION)
        answers = await asyncio.gather(*(ask_about(photo, upstream.predict, parameters) for photo in upload.photos))
        return respond([as_the_tutorial(answer, brief=not parameters) for answer in answers])

    @routes.post("/explain", **schemas.EXPLAIN)
    async def explain(request: Request) -> Response:
        """Show on a photo the evidence for its best class, or for another one. With top_k it also lists classes."""
        upload = await uploads.read(request, settings)
        parameters = uploads.parameters_of(request, upload, EXPLANATION)
        if len(upload.photos) > 1:
            raise BadRequest(TWO_FILES)
        wanted = PNG if PNG in request.headers.get("accept", "") else JSON
        ask = partial(upstream.explain, media_type=wanted)
        return respond([await ask_about(upload.photos[0], ask, parameters)])

    return routes


async def ask_about(
    photo: bytes | RequestError, ask: Callable[[bytes, dict[str, Any]], Awaitable[Answer]], parameters: dict[str, Any]
) -> Answer:
    """Ask TorchServe about one photo, if there is one."""
    if isinstance(photo, RequestError):
        return Answer.error(photo.status, str(photo))
    return await ask(photo, parameters) if photo else Answer.error(HTTPStatus.BAD_REQUEST, EMPTY)


def as_the_tutorial(answer: Answer, *, brief: bool) -> Answer:
    """Answer as the tutorial's clients expect: a 415 becomes a 400, the only refusal that they know.

    With `brief` a good answer is shortened to the two fields that they know. That of another project's handler stays
    as it is. So does that of a multi-label model, which always has predictions and says too little without them.
    """
    if answer.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE:
        return Answer.error(HTTPStatus.BAD_REQUEST, answer.message)
    content = answer.content if brief and answer.ok else None
    if not isinstance(content, dict) or not content.get("recognized") or "predictions" in content:
        return answer
    label = {name: content.get(name) for name in ("class_id", "class_name")}
    return Answer(answer.status, encode(label))


def respond(answers: list[Answer]) -> Response:
    """Answer one file with an object and several with a list, as TorchServe's handler does.

    The status is 200 if at least one file was classified, and otherwise that of the first error.
    """
    first = answers[0]
    if len(answers) == 1:
        return Response(first.body, first.status, first.headers, first.media_type)
    items = b",".join(answer.body if answer.ok else b'{"error":%b}' % answer.body for answer in answers)
    if any(answer.ok for answer in answers):
        return Response(b"[%b]" % items, media_type=JSON)
    return Response(b"[%b]" % items, first.status, first.headers, JSON)
