"""Whether the gateway runs, and whether it can answer."""

from __future__ import annotations

import threading

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from densenet_serving.client.endpoint import is_loopback
from densenet_serving.gateway.errors import Forbidden, ServiceUnavailable
from densenet_serving.gateway.routes.schemas import Error
from densenet_serving.gateway.torchserve.upstream import Upstream

PROMETHEUS = "text/plain; version=0.0.4"


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
