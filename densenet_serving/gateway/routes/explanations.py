"""POST /explain: one photo, and a picture of what the model's answer rests on."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from densenet_serving.gateway.errors import BadRequest, GatewayError
from densenet_serving.gateway.routes import predictions, uploads
from densenet_serving.gateway.routes.schemas import REQUEST_BODY_OF_ONE, Error, Explanation, ExplanationParameters
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.torchserve.upstream import Upstream

PNG = "image/png"
TWO_FILES = "The request has several files: send one, since one picture shows one photo."
RESPONSES: dict[int | str, dict[str, Any]] = {
    **predictions.RESPONSES,
    200: {
        "model": Explanation,
        "content": {PNG: {"schema": {"type": "string", "format": "binary"}}},
        "description": "The answer with the picture in base64; with Accept: image/png the picture alone.",
    },
    415: {"model": Error, "description": "No image of an accepted format."},
}


def router(upstream: Upstream, settings: GatewaySettings) -> APIRouter:
    routes = APIRouter()

    @routes.post(
        "/explain",
        responses=RESPONSES,
        openapi_extra={"requestBody": REQUEST_BODY_OF_ONE},
        dependencies=[Depends(predictions.bearer)],
    )
    async def explain(request: Request, query: Annotated[ExplanationParameters, Query()]) -> Response:
        """Show on a photo the evidence for its best class, or for another one."""
        upload = await uploads.read(request, settings)
        parameters = uploads.parameters_of(request, query, upload)
        photo = only_photo(upload)
        answer = await upstream.explain(photo, parameters) if photo else predictions.refusal(predictions.EMPTY)
        overlay = answer.content.get("overlay") if answer.ok and isinstance(answer.content, dict) else None
        if overlay and PNG in request.headers.get("accept", ""):
            return Response(base64.b64decode(overlay), media_type=PNG)
        return JSONResponse(answer.content, answer.status, answer.headers)

    return routes


def only_photo(upload: uploads.Upload) -> bytes:
    """Return the request's only photo. Raises GatewayError."""
    if len(upload.photos) > 1:
        raise BadRequest(TWO_FILES)
    [photo] = upload.photos
    if isinstance(photo, GatewayError):
        raise photo
    return photo
