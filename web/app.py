"""The application: the routes, what stands before them, and the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi_offline import FastAPIOffline

from web import errors, health, predictions
from web.access import Access
from web.bodies import Bodies
from web.keys import KeyFile
from web.limits import RateLimit
from web.settings import GatewaySettings
from web.upstream import Upstream


def create_app(upstream: Upstream, settings: GatewaySettings) -> FastAPI:
    """Build the application; it closes `upstream` when it ends."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await upstream.aclose()

    # Swagger UI's files come from a package: FastAPI's own page loads them from a CDN.
    app = FastAPIOffline(
        title="DenseNet-121",
        description="Names what is on a photo.",
        version=metadata.version("densenet-serving"),
        redoc_url=None,
        lifespan=lifespan,
    )
    errors.install(app)
    app.include_router(predictions.router(upstream, settings))
    app.include_router(health.router(upstream))
    # The last one added stands first: a browser asks CORS's question without a key.
    app.add_middleware(Bodies, settings=settings)
    app.add_middleware(Access, keys=KeyFile(settings.run_dir), rate=RateLimit(settings.rate))
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization"],
        )
    return app
