"""The application: the routes, and the guards that a request passes before them."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from densenet_serving.gateway import errors, pages, photos, status
from densenet_serving.gateway.access import Access
from densenet_serving.gateway.bodies import Bodies
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.gateway.messages import AnswerHeaders, Spelling
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.sites import KnownHosts, OwnOrigin, known_hosts
from densenet_serving.gateway.upstream import Upstream


class Application(FastAPI):
    def build_middleware_stack(self) -> ASGIApp:
        # Outside Starlette's own, which answers a bug.
        return Spelling(AnswerHeaders(super().build_middleware_stack()))


def create_app(upstream: Upstream, settings: GatewaySettings, ending: threading.Event | None = None) -> FastAPI:
    """Build the application; it closes `upstream` when it ends. Once `ending` is set, /readyz answers 503."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await upstream.aclose()

    app = Application(
        title="DenseNet-121",
        description="Names what is on a photo.",
        version=metadata.version("densenet-serving"),
        docs_url=None,  # pages.py has one that loads nothing from a CDN
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    errors.install(app)
    keys = ApiKeys(settings.run_dir, settings.keys)
    app.include_router(photos.router(upstream, settings))
    app.include_router(status.router(upstream, keys, ending or threading.Event()))
    pages.install(app)
    # A request passes the last one added first. CORS comes before the key: a browser sends its question without one.
    app.add_middleware(Bodies, settings=settings)
    app.add_middleware(Access, keys=keys, rate=settings.rate)
    app.add_middleware(OwnOrigin, named=settings.cors_origins, hosts=settings.allowed_hosts)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization"],
        )
    app.add_middleware(KnownHosts, names=known_hosts(settings))
    return app
