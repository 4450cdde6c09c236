"""POST /explain: one photo in a form, and a picture of what the model's answer rests on."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from web.errors import BadRequest
from web.limits.budget import Admission
from web.routes import predictions, uploads
from web.routes.schemas import REQUEST_BODY_OF_ONE, Error, Explanation, ExplanationParameters
from web.settings import GatewaySettings
from web.torchserve.upstream import Upstream

PNG = "image/png"
TWO_FILES = "The form has several files: send one, since one picture shows one photo."
RESPONSES: dict[int | str, dict[str, Any]] = {
    **predictions.RESPONSES,
    200: {
        "model": Explanation,
        "content": {PNG: {"schema": {"type": "string", "format": "binary"}}},
        "description": "The answer with the picture in base64; with Accept: image/png the picture alone.",
    },
    415: {"model": Error, "description": "No image of an accepted format."},
}


def router(upstream: Upstream, settings: GatewaySettings, admission: Admission) -> APIRouter:
    routes = APIRouter()

    @routes.post(
        "/explain",
        responses=RESPONSES,
        openapi_extra={"requestBody": REQUEST_BODY_OF_ONE},
        dependencies=[Depends(predictions.bearer)],
    )
    async def explain(request: Request, query: Annotated[ExplanationParameters, Query()]) -> Response:
        """Show on a photo the evidence for its best class, or for another one."""
        with admission():
            form = await uploads.read(request, settings)
            parameters = query.given() | predictions.parameters_of(form, ExplanationParameters)
            file = only_file(form)
            answer = await upstream.explain(file, parameters) if file else predictions.refusal(predictions.EMPTY)
        if answer.ok and "overlay" in answer.content and PNG in request.headers.get("accept", ""):
            return Response(base64.b64decode(answer.content["overlay"]), media_type=PNG)
        return JSONResponse(answer.content, answer.status, answer.headers)

    return routes


def only_file(form: uploads.Form) -> bytes:
    """Return the form's only file. Raises BadRequest."""
    if not form.files:
        raise BadRequest(uploads.NO_FORM)
    if len(form.files) > 1:
        raise BadRequest(TWO_FILES)
    return form.files[0]
