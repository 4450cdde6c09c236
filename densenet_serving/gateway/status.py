"""Which model answers, how good its weights are and what computes; whether the gateway runs, and can answer."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from densenet_serving.client.endpoint import is_loopback
from densenet_serving.gateway import schemas
from densenet_serving.gateway.errors import Forbidden
from densenet_serving.gateway.kept import Kept
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.gateway.schemas import Model
from densenet_serving.gateway.upstream import Upstream
from handler.errors import ServiceUnavailable

KEPT_SECONDS = 5
PROMETHEUS = "text/plain; version=0.0.4"


def router(upstream: Upstream, keys: ApiKeys, ending: threading.Event, kept_seconds: float = KEPT_SECONDS) -> APIRouter:
    routes = APIRouter()
    # A worker has to answer for its card.
    described = Kept(upstream.describe, kept_seconds, good=lambda answer: answer.ok)

    @routes.get("/model", **schemas.MODEL)
    async def model() -> Any:
        """Describe the model that answers: its weights, how accurate they are, and the engine that runs it."""
        answer = await described.get()
        if not answer.ok:
            return Response(answer.body, answer.status, media_type=answer.media_type)
        return public(answer.content, upstream.model, keys.enforced)

    @routes.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """The gateway itself runs. Restart it if this fails."""
        return {"status": "Healthy"}

    @routes.get("/readyz", **schemas.READY)
    async def readyz() -> dict[str, str | int]:
        """TorchServe runs, a worker of the model is ready, and nobody ends them. Send no requests while this fails."""
        if ending.is_set():
            raise ServiceUnavailable("The gateway ends soon: send requests to another one.")
        workers = await upstream.workers()
        if not workers.ready:
            raise ServiceUnavailable(f"No worker of {upstream.model} is ready.")
        return {"status": "Ready", "model": upstream.model, "workers": workers.ready, "wanted": workers.wanted}

    @routes.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> PlainTextResponse:
        """Count the workers for Prometheus on this machine. TorchServe's own metrics have no such number."""
        of_proxy = "x-forwarded-for" in request.headers  # of one on this machine that is not named as a proxy
        if request.client is None or not is_loopback(request.client.host) or of_proxy:
            raise Forbidden("Metrics are for this machine alone.")
        workers, label = await upstream.workers(), f'{{model_name="{upstream.model}"}}'
        counts = {"gateway_workers_ready": workers.ready, "gateway_workers_wanted": workers.wanted}
        lines = [f"# TYPE {name} gauge\n{name}{label} {count}\n" for name, count in counts.items()]
        return PlainTextResponse("".join(lines), media_type=PROMETHEUS)

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
