"""GET /model: which model answers, how good its weights are, and what computes."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse

from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.gateway.routes import predictions
from densenet_serving.gateway.routes.schemas import Error, Model
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.torchserve.kept import Kept
from densenet_serving.gateway.torchserve.upstream import Upstream

KEPT_SECONDS = 5
RESPONSES: dict[int | str, dict[str, Any]] = {
    401: {"model": Error, "description": "No valid API key, if the gateway asks for one."},
    503: {"model": Error, "description": "TorchServe does not answer."},
}


def router(upstream: Upstream, settings: GatewaySettings) -> APIRouter:
    routes = APIRouter()
    # A worker has to answer for its card.
    described = Kept(upstream.describe, KEPT_SECONDS, good=lambda answer: answer.ok)
    keys = ApiKeys(settings.run_dir, settings.keys)

    @routes.get("/model", response_model=Model, responses=RESPONSES, dependencies=[Depends(predictions.bearer)])
    async def model() -> Any:
        """Describe the model that answers: its weights, how accurate they are, and the engine that runs it."""
        answer = await described.get()
        if not answer.ok:
            return JSONResponse(answer.content, answer.status)
        return public(answer.content, upstream.model, keys.enforced)

    return routes


def public(description: list[dict[str, Any]], name: str, api_key: bool) -> Model:
    """Select what the public may know from TorchServe's description, which also names paths and processes.

    The archive of another project has no model card, or one of another form: then name and version are all there is.
    """
    first = description[0]
    try:
        card = dict(first["customizedMetadata"])
        weights = card["weights"] | {"source": without_secrets(card["weights"]["source"])}
        return Model.model_validate(card | {"weights": weights, "engine": card.get("running"), "api_key": api_key})
    except (KeyError, TypeError, ValueError):  # pydantic's is a ValueError
        return Model(name=name, version=str(first.get("modelVersion", "")), api_key=api_key)


def without_secrets(source: str) -> str:
    """Remove from an address what may hold a password or a signature."""
    parts = urlsplit(source)
    return f"{parts.scheme}://{parts.hostname}{parts.path}" if parts.scheme in ("http", "https") else source
