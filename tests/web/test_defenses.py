from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from scripts.errors import CommandError
from tests.web.conftest import GATEWAY, TorchServe, check_error, client_of, loads
from web.app import create_app
from web.defenses import HEADERS, host_name, known_hosts
from web.keys import KeyFile
from web.settings import GatewaySettings
from web.upstream import Upstream

pytestmark = pytest.mark.anyio

STRANGER = "https://stranger.example"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/page/main.js", 200),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/healthz", 200),
        ("POST", "/predict", 400),
        ("GET", "/nothing", 404),
        ("PUT", "/predict", 405),
    ],
)
async def test_every_answer_has_its_headers(front: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    answer = await front.request(method, path)

    assert answer.status_code == status
    own = {"Cache-Control": "no-cache"} if path in ("/", "/page/main.js", "/docs") else {}
    expected = HEADERS | own
    assert {name: answer.headers.get(name) for name in expected} == expected


async def test_so_have_a_bug_and_every_refusal(
    front: httpx.AsyncClient, torchserve: TorchServe, settings: GatewaySettings
) -> None:
    torchserve.replies = [ZeroDivisionError()]
    answers = [
        await front.post("/predict", files={"file": b"cat"}),
        await front.get("/healthz", headers={"Host": "stranger.example"}),
        await front.post("/predict", headers={"Origin": STRANGER}),
    ]
    KeyFile(settings.run_dir).add("phone")
    answers.append(await front.get("/"))

    assert [answer.status_code for answer in answers] == [500, 400, 403, 401]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_the_policy_allows_nothing_from_elsewhere_and_nothing_inline() -> None:
    policy = HEADERS["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert [word for word in ("unsafe", "http", "*", "script-src") if word in policy] == []


@pytest.mark.parametrize("path", ["/healthz", "/", "/predict", "/openapi.json"])
@pytest.mark.parametrize("host", ["stranger.example", "127.0.0.1.stranger.example", "localhost@stranger.example", ""])
async def test_another_host_is_refused(front: httpx.AsyncClient, path: str, host: str) -> None:
    """DNS rebinding: a page of stranger.example, whose name now points here, would read the answer."""
    check_error(await front.get(path, headers={"Host": host}), 400, "--allowed-host NAME adds one")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]:8000", "photos.example", "a.b.example:80", "10.0.0.7"]
)
async def test_its_own_hosts_are_known(upstream: Upstream, settings: GatewaySettings, host: str) -> None:
    settings = replace(settings, host="10.0.0.7", allowed_hosts=("photos.example", "*.b.example"))
    async with client_of(create_app(upstream, settings)) as front:
        assert (await front.get("/healthz", headers={"Host": host})).status_code == 200


def test_where_it_listens_on_every_address_those_of_this_machine_are_known(tmp_path: Path) -> None:
    names = known_hosts(GatewaySettings(tmp_path, "densenet121", host="0.0.0.0"))  # noqa: S104

    assert {"127.0.0.1", "localhost", socket.gethostname()} <= set(names)
    assert not {"0.0.0.0", "*", ""} & set(names)  # noqa: S104


@pytest.mark.parametrize(
    ("text", "name"),
    [("::1", "[::1]"), ("[FE80::1]", "[fe80::1]"), ("10.0.0.7", "10.0.0.7"), ("*.b.example", "*.b.example")],
)
def test_hosts_are_put_as_browsers_put_them(text: str, name: str) -> None:
    assert host_name(text) == name


@pytest.mark.parametrize("text", ["https://photos.example", "photos.example:8000", "a.*.example", "", "a b"])
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(CommandError, match=r"is no host: write it as photos\.example\.org"):
        host_name(text)


@pytest.mark.parametrize(
    "origin", [STRANGER, "null", "", "http://127.0.0.1:9000", "http://127.0.0.1:8000.x", "http://["]
)
@pytest.mark.parametrize("path", ["/predict", "/explain", "/nothing"])
async def test_pages_of_other_origins_may_not_post(
    front: httpx.AsyncClient, torchserve: TorchServe, origin: str, path: str
) -> None:
    refused = await front.post(path, files={"file": b"cat"}, headers={"Origin": origin})

    check_error(refused, 403, "A page of another origin sent this")
    assert torchserve.asked == []


@pytest.mark.parametrize("headers", [{}, {"Origin": GATEWAY}, {"Origin": GATEWAY.replace("http", "https")}])
async def test_its_own_page_and_other_programs_may(front: httpx.AsyncClient, headers: dict[str, str]) -> None:
    """Behind a proxy that ends TLS the browser's origin is https."""
    loads(await front.post("/predict", files={"file": b"cat"}, headers=headers))


@pytest.mark.parametrize("named", [STRANGER, "*"])
async def test_so_may_pages_of_named_origins(upstream: Upstream, settings: GatewaySettings, named: str) -> None:
    async with client_of(create_app(upstream, replace(settings, cors_origins=(named,)))) as front:
        loads(await front.post("/predict", files={"file": b"cat"}, headers={"Origin": STRANGER}))
