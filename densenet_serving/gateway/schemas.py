"""What /docs shows: parameters, bodies, answers and errors. Answers are TorchServe's own and are not checked again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field

from densenet_serving.gateway.answer import PNG
from handler.answers import Answer, Explanation
from handler.card import Task, Weights
from handler.parameters import EXPLANATION, PARAMETERS, PREDICTION


class Label(BaseModel):
    """The tutorial's answer."""

    class_id: Annotated[str, Field(examples=["n02124075"])]
    class_name: Annotated[str, Field(examples=["Egyptian_cat"])]


class Model(BaseModel):
    """The archive's model card. An archive of another project has only a name and a version."""

    name: str
    version: str
    architecture: str | None = None
    classes: int | None = None
    task: Annotated[
        Task | None, Field(description="single-label: a photo has one class. multi-label: it may have several or none.")
    ] = None
    heatmaps: Annotated[bool | None, Field(description="Whether /explain can answer.")] = None
    weights: Weights | None = None
    preprocessing: dict[str, Any] | None = None
    engine: Annotated[dict[str, str | int] | None, Field(description="What computes, and in which precision.")] = None
    api_key: Annotated[bool, Field(description="Whether the gateway asks for an API key.")]


class Error(BaseModel):
    code: int
    type: str
    message: str


class Failed(BaseModel):
    """What one of several files is answered if it was refused."""

    error: Error


# TorchServe answers in full if a parameter was given, the photo is not recognized, or the model is multi-label.
Answered = Label | Answer

PHOTO = {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC."}
PHOTOS = {"type": "array", "items": PHOTO, "description": "One photo or several."}
JSON_EXAMPLE = {"instances": [{"b64": "<base64 of the photo>"}], "parameters": {"min_probability": 0.2}}


def errors(**descriptions: str) -> dict[int | str, dict[str, Any]]:
    return {int(status.strip("_")): {"model": Error, "description": text} for status, text in descriptions.items()}


def takes(file: dict[str, Any], parameters: tuple[str, ...]) -> dict[str, Any]:
    """Describe a form with the field `file`, whose schema is given, the other forms of a body, and the parameters."""
    form = {"type": "object", "required": ["file"], "properties": {"file": file}}
    content = {
        "multipart/form-data": {"schema": form, "encoding": {"file": {"contentType": "image/*"}}},
        "image/*": {"schema": PHOTO},
        "application/json": {"schema": {"type": "object", "required": ["instances"]}, "example": JSON_EXAMPLE},
    }
    return {
        "requestBody": {"required": True, "content": content},
        "parameters": [{"name": name, "in": "query", "schema": PARAMETERS[name].schema()} for name in parameters],
    }


# access.py checks the key. This lets /docs ask for it.
KEY = [Depends(HTTPBearer(auto_error=False, description="An API key, if the gateway asks for one."))]
REFUSALS = errors(
    _400="No file, a file that is empty or damaged, or a wrong parameter; of /predict also a file that is no image.",
    _401="No valid API key, if the gateway asks for one.",
    _408="The upload came too slowly.",
    _413="Too many bytes, pixels or files.",
    _429="More requests than the API key may make, or too much decoding.",
    _503="Busy, or TorchServe does not answer.",
)
PREDICT: dict[str, Any] = {
    "responses": REFUSALS
    | {
        200: {
            "model": Answered | list[Answered | Failed],
            "description": "An object for one file, a list in the order sent for several.",
        }
    },
    "openapi_extra": takes(PHOTOS, PREDICTION),
    "dependencies": KEY,
}
EXPLAIN: dict[str, Any] = {
    "responses": REFUSALS
    | errors(_415="No image of an accepted format.")
    | {
        200: {
            "model": Explanation,
            "content": {PNG: {"schema": {"type": "string", "format": "binary"}}},
            "description": "The answer with the picture in base64; with Accept: image/png the picture alone.",
        }
    },
    "openapi_extra": takes(PHOTO, EXPLANATION),
    "dependencies": KEY,
}
MODEL: dict[str, Any] = {
    "response_model": Model,
    "responses": {status: REFUSALS[status] for status in (401, 503)},
    "dependencies": KEY,
}
READY: dict[str, Any] = {"tags": ["health"], "responses": {503: {"model": Error}}}
