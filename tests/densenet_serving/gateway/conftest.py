"""A gateway without a network: TorchServe's side is a function, the front is called as an ASGI application."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from densenet_serving.client.endpoint import Endpoint
from densenet_serving.gateway.app import create_app
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.upstream import Upstream
from tests import errors
from tests.densenet_serving.conftest import write_keys

MODEL = "densenet121"
GATEWAY = "http://127.0.0.1:8000"
CAT = {"class_id": "n02124075", "class_name": "Egyptian_cat", "probability": 0.9, "recognized": True}
DOG = {"class_id": "n02110341", "class_name": "dalmatian", "probability": 0.8, "recognized": True}
UNSURE = {"class_id": None, "class_name": None, "probability": 0.1, "recognized": False}
NO_IMAGE = {"code": 415, "type": "UnsupportedMediaTypeException", "message": "This is not an image: send JPEG."}
REFUSED_KEY = {"code": 400, "type": "InvalidKeyException", "message": "Token Authorization failed."}
WORKER_DIED = {"code": 500, "type": "InternalServerException", "message": "Worker died."}
READY = [{"modelName": MODEL, "workers": [{"status": "LOADING"}, {"status": "READY"}]}]

ANSWERS: dict[bytes, tuple[int, Any]] = {
    b"cat": (200, CAT),
    b"dog": (200, DOG),
    b"noise": (200, UNSURE),
    b"text": (415, NO_IMAGE),
}

Reply = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]


@dataclass
class TorchServe:
    """Answers by the image's bytes; what stands in `replies` is answered first, in its order."""

    asked: list[httpx.Request] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    answers: dict[bytes, tuple[int, Any]] = field(default_factory=lambda: ANSWERS)
    described: Any = field(default_factory=lambda: READY)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if self.replies:
            reply = self.replies.pop(0)
            if isinstance(reply, Exception):
                raise reply
            if isinstance(reply, httpx.Response):
                return reply
            answer = reply(request)
            return await answer if inspect.isawaitable(answer) else answer
        if request.method == "GET":
            return httpx.Response(200, json=self.described)
        status, content = self.answers[request.content]
        return httpx.Response(status, json=content)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def torchserve() -> TorchServe:
    return TorchServe()


@pytest.fixture
def endpoint(tmp_path: Path) -> Endpoint:
    write_keys(tmp_path)
    return Endpoint("http://inference", "http://management", "http://metrics", tmp_path)


@pytest.fixture
def settings(tmp_path: Path) -> GatewaySettings:
    return GatewaySettings(tmp_path, MODEL, max_body_bytes=1000, max_files=3)


@pytest.fixture
def upstream(endpoint: Endpoint, torchserve: TorchServe) -> Upstream:
    return Upstream(endpoint, MODEL, transport=httpx.MockTransport(torchserve))


@pytest.fixture
def app(upstream: Upstream, settings: GatewaySettings) -> FastAPI:
    return create_app(upstream, settings)


@pytest.fixture
async def front(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(app) as client:
        yield client


def client_of(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=GATEWAY)


def check_error(response: httpx.Response, code: int, fragment: str) -> None:
    assert response.status_code == code
    assert response.headers["content-type"] == "application/json"
    errors.check_error(response.json(), code, fragment)


def files(*contents: bytes, name: str = "file") -> list[tuple[str, tuple[str, bytes]]]:
    """A form of several files, all under one name."""
    return [(name, ("photo.jpg", content)) for content in contents]


def loads(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return json.loads(response.content)
