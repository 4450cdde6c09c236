"""Parameters, answers and errors as /docs shows them. Answers are TorchServe's own and are not checked again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class CommonParameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    min_probability: Annotated[
        float | None, Field(ge=0, le=1, description="A photo whose best probability is lower counts as not recognized.")
    ] = None

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


class Parameters(CommonParameters):
    """The parameters of /predict. If one of them is given, the answers are TorchServe's in full."""

    top_k: Annotated[int | None, Field(ge=1, description="How many candidates to list.")] = None


class ExplanationParameters(CommonParameters):
    class_id: Annotated[str | None, Field(description="The class to explain; the best one by default.")] = None
    overlay: Annotated[
        float | None, Field(ge=0, le=1, description="The share of color: 0 shows the photo alone, 1 the colors alone.")
    ] = None


class Label(BaseModel):
    """The tutorial's answer."""

    class_id: Annotated[str, Field(examples=["n02124075"])]
    class_name: Annotated[str, Field(examples=["Egyptian_cat"])]


class Candidate(Label):
    probability: float


class Classification(BaseModel):
    """TorchServe's answer if a parameter was given, the photo is not recognized (class_id is then null), or the model
    is multi-label; then predictions are all classes that are on the photo.
    """

    class_id: str | None
    class_name: str | None
    probability: float
    recognized: bool
    predictions: list[Candidate] = []


class Explanation(BaseModel):
    """TorchServe's answer. An archive that is too old to explain has no overlay."""

    class_id: str
    class_name: str
    probability: float
    recognized: Annotated[bool, Field(description="Whether the best class is, whichever is explained.")]
    overlay: Annotated[str, Field(description="A PNG in base64: what the model saw of the photo, under the colors.")]


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
    """The archive's model card. An archive of another project has only a name and a version."""

    name: str
    version: str
    architecture: str | None = None
    classes: int | None = None
    task: Annotated[
        str | None, Field(description="single-label: a photo has one class. multi-label: it may have several or none.")
    ] = None
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


Answered = Label | Classification
Response = Answered | list[Answered | Failed]

PHOTO = {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC."}
JSON_EXAMPLE = {"instances": [{"b64": "<base64 of the photo>"}], "parameters": {"min_probability": 0.2}}
PHOTOS = {"type": "array", "items": PHOTO, "description": "One photo or several."}


def body_of(file: dict[str, Any]) -> dict[str, Any]:
    """Describe a form with the field `file`, whose schema is given, and the other forms of a body."""
    form = {"type": "object", "required": ["file"], "properties": {"file": file}}
    return {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form, "encoding": {"file": {"contentType": "image/*"}}},
            "image/*": {"schema": PHOTO},
            "application/json": {"schema": {"type": "object", "required": ["instances"]}, "example": JSON_EXAMPLE},
        },
    }


REQUEST_BODY = body_of(PHOTOS)
REQUEST_BODY_OF_ONE = body_of(PHOTO)
