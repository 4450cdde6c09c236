"""HEAD, and slashes too many."""

from __future__ import annotations

import httpx
import pytest

from densenet_serving.gateway.routes import pages
from tests.densenet_serving.gateway.conftest import CAT, TorchServe, loads

pytestmark = pytest.mark.anyio

LABEL = {name: CAT[name] for name in ("class_id", "class_name")}


@pytest.mark.parametrize("address", ["/healthz", "/readyz", "/model", "/openapi.json", "/nothing", *pages.files()])
async def test_head_is_answered_as_get_without_a_body(front: httpx.AsyncClient, address: str) -> None:
    got, head = await front.get(address), await front.head(address)

    assert (head.status_code, head.content) == (got.status_code, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert head.headers["content-type"] == got.headers["content-type"]


async def test_head_asks_for_no_prediction(front: httpx.AsyncClient, torchserve: TorchServe) -> None:
    assert (await front.head("/predict")).status_code == 405
    assert torchserve.asked == []


@pytest.mark.parametrize("path", ["/predict/", "/predict//", "///predict"])
async def test_a_slash_too_many_changes_nothing(front: httpx.AsyncClient, path: str) -> None:
    response = await front.post(f"http://127.0.0.1:8000{path}", files={"file": b"cat"})

    assert response.history == []
    assert loads(response) == LABEL
    assert (await front.get("/docs/")).content == (await front.get("/docs")).content


async def test_put_is_post(front: httpx.AsyncClient) -> None:
    """curl -T sends it."""
    assert loads(await front.put("/predict", content=b"cat")) == LABEL
    assert (await front.put("/healthz", content=b"cat")).status_code == 405
