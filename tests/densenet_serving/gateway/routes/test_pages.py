"""The files that a browser is given; what the page looks like and how it is used, tests/browser tries in a browser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Route

from densenet_serving import paths
from densenet_serving.gateway import pages
from tests import pictures
from tests.densenet_serving.gateway.conftest import TorchServe, check_error

pytestmark = pytest.mark.anyio


async def test_no_route_takes_a_path(app: FastAPI) -> None:
    """What is part of no address cannot name a file."""
    routes = list(leaves(app.routes))

    assert {"/", "/predict", "/explain", "/page/main.js"} <= {getattr(route, "path", "") for route in routes}
    assert [route for route in routes if not isinstance(route, Route)] == []  # a mount takes any path below it
    assert [route.path for route in routes if isinstance(route, Route) and route.param_convertors] == []


def leaves(routes: Iterable[BaseRoute]) -> Iterator[BaseRoute]:
    for route in routes:
        included = getattr(route, "original_router", None)  # FastAPI keeps a router that was included whole
        yield from leaves(included.routes) if included else [route]


async def test_no_file_of_this_machine_can_be_asked_for(
    front: httpx.AsyncClient, torchserve: TorchServe, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(pictures.encode(pictures.noise()))
    event = {"fn_index": 1, "session_hash": "s", "data": [{"path": str(secret)}]}  # what a page of Gradio's took

    check_error(await front.post("/gradio_api/queue/join", json=event), 404, "is not served")
    check_error(await front.get("/gradio_api/queue/data", params={"session_hash": "s"}), 404, "is not served")
    check_error(await front.get(f"/gradio_api/file={secret}"), 404, "is not served")
    check_error(await front.get(f"/page/..{secret}"), 404, "is not served")
    check_error(await front.get(f"/page/%2e%2e/%2e%2e{secret}"), 404, "is not served")
    assert torchserve.asked == []


@pytest.mark.parametrize("address", sorted(pages.files()))
async def test_every_file_is_given_and_asked_after(front: httpx.AsyncClient, address: str) -> None:
    given = await front.get(address)
    again = await front.get(address, headers={"If-None-Match": given.headers["etag"]})

    assert given.status_code == 200
    assert given.content == pages.files()[address].read_bytes()
    assert given.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    if address.endswith(".js"):
        assert given.headers["content-type"].startswith("text/javascript")


async def test_the_page_asks_for_nothing_that_is_not_there(front: httpx.AsyncClient) -> None:
    page = (await front.get("/")).text

    assert "//" not in page.replace("</", "")
    assert {"/", "/docs", "/page/main.js", "/page/examples/coffee.jpg"} <= set(pages.files())
    assert paths.SAMPLE_PHOTO in pages.files().values()
    assert all(path.stat().st_size < 80_000 for path in pages.EXAMPLES)
