"""What goes in and out, for the reader of /docs. Answers are TorchServe's own and are not checked again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class CommonParameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    min_probability: Annotated[
        float | None, Field(ge=0, le=1, description="Below it a photo counts as not recognised.")
    ] = None

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class Parameters(CommonParameters):
    """What a client may choose; one of them given, the answers are TorchServe's in full."""

    top_k: Annotated[int | None, Field(ge=1, description="How many candidates to list.")] = None


class ExplanationParameters(CommonParameters):
    class_id: Annotated[str | None, Field(description="The class to explain; the best one unless given.")] = None
    overlay: Annotated[
        float | None, Field(ge=0, le=1, description="The share of colour: 0 the photo alone, 1 the colours alone.")
    ] = None


class Label(BaseModel):
    """The tutorial's answer."""

    class_id: Annotated[str, Field(examples=["n02124075"])]
    class_name: Annotated[str, Field(examples=["Egyptian_cat"])]


class Candidate(Label):
    probability: float


class Classification(BaseModel):
    """TorchServe's answer, where a parameter was given or the photo is not recognised: class_id is then null."""

    class_id: str | None
    class_name: str | None
    probability: float
    recognized: bool
    predictions: list[Candidate] = []


class Explanation(BaseModel):
    """TorchServe's answer. An archive built before explanations were has no overlay."""

    class_id: str
    class_name: str
    probability: float
    recognized: Annotated[bool, Field(description="Of the best class, whichever is explained.")]
    overlay: Annotated[str, Field(description="A PNG in base64: the part that the model saw, and the colours over it.")]


class Accuracy(BaseModel):
    top1: float
    top5: float
    evaluated_on: str


class Weights(BaseModel):
    source: str
    sha256: str
    license: str
    training: str | None = None
    accuracy: Accuracy | None = None


class Model(BaseModel):
    """The archive's own card; one that this project did not build has a name and a version."""

    name: str
    version: str
    architecture: str | None = None
    classes: int | None = None
    weights: Weights | None = None
    preprocessing: dict[str, Any] | None = None
    engine: Annotated[dict[str, str | int] | None, Field(description="What computes, in which precision.")] = None
    api_key: Annotated[bool, Field(description="Whether the gateway asks for an API key.")]


class Error(BaseModel):
    code: int
    type: str
    message: str


class Failed(BaseModel):
    """In the place of one file of several."""

    error: Error


Answered = Label | Classification
Response = Answered | list[Answered | Failed]

PHOTO = {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF."}
PHOTOS = {"type": "array", "items": PHOTO, "description": "One photo or several."}


def form_of(file: dict[str, Any]) -> dict[str, Any]:
    """Describe a form whose field `file` is what the schema says."""
    schema = {"type": "object", "required": ["file"], "properties": {"file": file}}
    return {
        "required": True,
        "content": {"multipart/form-data": {"schema": schema, "encoding": {"file": {"contentType": "image/*"}}}},
    }


REQUEST_BODY = form_of(PHOTOS)
REQUEST_BODY_OF_ONE = form_of(PHOTO)
