from __future__ import annotations

import contextlib
import gc
import tracemalloc
from collections.abc import Iterable
from dataclasses import replace

import pytest
from fastapi import Request
from starlette.types import Message

from web.errors import BadRequest, PayloadTooLarge
from web.routes.uploads import CUT_SHORT, NO_FORM, Form, read
from web.settings import GatewaySettings

pytestmark = pytest.mark.anyio

BOUNDARY = "----boundary"


def form(*parts: tuple[str, bytes], closed: bool = True) -> bytes:
    body = b"".join(
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="x"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in parts
    )
    return body + f"--{BOUNDARY}--\r\n".encode() * closed


class Sender:
    """A client whose body arrives in pieces; counts those that were taken."""

    def __init__(self, pieces: Iterable[bytes], **headers: str) -> None:
        headers = {"content_type": f"multipart/form-data; boundary={BOUNDARY}"} | headers
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        self.request = Request({"type": "http", "headers": raw}, self.receive)
        self._pieces = iter(pieces)
        self.taken = 0

    async def receive(self) -> Message:
        piece = next(self._pieces, None)
        self.taken += piece is not None
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
async def test_files_and_parameters_in_pieces_of_any_size(settings: GatewaySettings, size: int) -> None:
    contents = [b"\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n-", bytes(range(256)), b""]
    body = form(("file", contents[0]), ("top_k", b"5"), ("file", contents[1]), ("other", contents[2]))

    found = await read(Sender(body[i : i + size] for i in range(0, len(body), size)).request, settings)

    assert found == Form(contents, {"top_k": "5"})


async def test_too_many_files(settings: GatewaySettings) -> None:
    with pytest.raises(PayloadTooLarge, match="more than 3 files"):
        await read(Sender([form(*[("file", b"x")] * 4)]).request, settings)


async def test_a_parameter_twice(settings: GatewaySettings) -> None:
    with pytest.raises(BadRequest, match="The form has top_k twice: send it once"):
        await read(Sender([form(("top_k", b"1"), ("Top-K", b"2"))]).request, settings)


async def test_many_parts_are_refused_before_the_rest_is_read(settings: GatewaySettings) -> None:
    sender = Sender(form(("file", b"x"), closed=False) for _ in range(2000))

    with pytest.raises(PayloadTooLarge, match="more than 3 files"):
        await read(sender.request, settings)
    assert sender.taken == 4


async def test_a_file_past_its_limit_is_refused_as_it_arrives(settings: GatewaySettings) -> None:
    sender = Sender([form(("file", b"cat"), closed=False)[:-2]] + [b"x" * 100] * 1000)

    with pytest.raises(PayloadTooLarge, match=r"A file is larger than 0\.0005 MB: send smaller photos"):
        await read(sender.request, replace(settings, max_file_bytes=500))
    assert sender.taken == 6


async def test_a_parameter_is_short(settings: GatewaySettings) -> None:
    with pytest.raises(BadRequest, match="The parameter top_k has more than 100 characters"):
        await read(Sender([form(("top_k", b"1" * 101))]).request, settings)


@pytest.mark.parametrize("closed", [True, False])
async def test_no_bytes_are_kept_until_the_collector_comes(settings: GatewaySettings, closed: bool) -> None:
    photo = bytes(2_000_000)
    sender = Sender([form(("file", photo), closed=closed)])
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        with contextlib.suppress(BadRequest):
            await read(sender.request, replace(settings, max_body_bytes=3_000_000))
        del sender
        assert tracemalloc.get_traced_memory()[0] < len(photo) / 2
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize("body", [b"", form(("file", b"cat"), closed=False), form(("file", b"cat"))[:40]])
async def test_a_form_that_is_cut_short(settings: GatewaySettings, body: bytes) -> None:
    with pytest.raises(BadRequest, match=CUT_SHORT):
        await read(Sender([body]).request, settings)


@pytest.mark.parametrize("body", [b"no form at all", b"--" + BOUNDARY.encode() + b"\r\n\x00: y\r\n\r\n"])
async def test_a_malformed_form(settings: GatewaySettings, body: bytes) -> None:
    with pytest.raises(BadRequest, match="The form is malformed"):
        await read(Sender([body]).request, settings)


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data", "multipart/form-data; boundary="])
async def test_what_is_no_form(settings: GatewaySettings, kind: str) -> None:
    with pytest.raises(BadRequest, match="The request has no file") as caught:
        await read(Sender([], content_type=kind).request, settings)
    assert str(caught.value) == NO_FORM


async def test_a_boundary_longer_than_the_standard_allows(settings: GatewaySettings) -> None:
    with pytest.raises(BadRequest, match="The form is malformed"):
        await read(Sender([], content_type=f"multipart/form-data; boundary={'x' * 1000}").request, settings)
