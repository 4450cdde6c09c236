"""The files that a browser is given, each at an address of its own: the page at /, and Swagger UI at /docs.

Each file has a fixed address, so nobody can ask for another file.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request, Response

from densenet_serving import paths

FOLDER = Path(__file__).parent
PAGE = FOLDER / "page"
SWAGGER = Path(fastapi_offline.__file__).parent / "static"  # FastAPI's own page loads these from a CDN
EXAMPLES = (paths.SAMPLE_PHOTO, *(FOLDER / "examples" / name for name in ("cat.jpg", "camera.jpg", "clock.jpg")))
SUFFIXES = (".css", ".js", ".svg")
# A machine's own list of types may differ, and with nosniff a browser refuses a script of another type.
mimetypes.add_type("text/javascript", ".js")


def files() -> dict[str, Path]:
    """Map every address to its file."""
    return {
        "/": PAGE / "index.html",
        "/docs": PAGE / "docs.html",
        **{f"/page/{path.name}": path for path in sorted(PAGE.iterdir()) if path.suffix in SUFFIXES},
        **{f"/page/examples/{path.name}": path for path in EXAMPLES},
        **{f"/page/{name}": SWAGGER / name for name in ("swagger-ui.css", "swagger-ui-bundle.js")},
    }


def install(app: FastAPI) -> None:
    for address, path in files().items():
        app.add_route(address, _serve(path), include_in_schema=False)


def _serve(path: Path) -> Callable[[Request], Awaitable[Response]]:
    """Give a file from memory: however many clients do not read it, they have the same bytes and open no file."""
    content = path.read_bytes()
    headers = {
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        "Cache-Control": "no-cache",  # a browser keeps it, and asks each time whether it changed: 304 if not
    }
    media_type = mimetypes.guess_type(path.name)[0]

    async def serve(request: Request) -> Response:
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    return serve
