"""What goes in and out, for the reader of /docs. Answers are TorchServe's own and are not checked again."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Parameters(BaseModel):
    """What a client may choose; one of them given, the answers are TorchServe's in full."""

    model_config = ConfigDict(extra="forbid")

    top_k: Annotated[int | None, Field(ge=1, description="How many candidates to list.")] = None
    min_probability: Annotated[
        float | None, Field(ge=0, le=1, description="Below it a photo counts as not recognised.")
    ] = None

    def given(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


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


class Error(BaseModel):
    code: int
    type: str
    message: str


class Failed(BaseModel):
    """In the place of one file of several."""

    error: Error


Answered = Label | Classification
Response = Answered | list[Answered | Failed]

REQUEST_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "array",
                        "items": {"type": "string", "format": "binary"},
                        "description": "One photo or several: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.",
                    }
                },
            },
            "encoding": {"file": {"contentType": "image/*"}},
        }
    },
}
