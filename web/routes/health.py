"""Whether the gateway runs, and whether it can answer."""

from __future__ import annotations

import threading

from fastapi import APIRouter

from web.errors import ServiceUnavailable
from web.routes.schemas import Error
from web.torchserve.upstream import Upstream


def router(upstream: Upstream, ending: threading.Event) -> APIRouter:
    routes = APIRouter(tags=["health"])

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The gateway itself runs. Restart it if this fails."""
        return {"status": "Healthy"}

    @routes.get("/readyz", responses={503: {"model": Error}})
    async def readyz() -> dict[str, str | int]:
        """TorchServe runs, a worker of the model is ready, and nobody ends them. Send no requests while this fails."""
        if ending.is_set():
            raise ServiceUnavailable("The gateway ends soon: send requests to another one.")
        workers = await upstream.workers()
        if not workers.ready:
            raise ServiceUnavailable(f"No worker of {upstream.model} is ready.")
        return {"status": "Ready", "model": upstream.model, "workers": workers.ready, "wanted": workers.wanted}

    return routes
