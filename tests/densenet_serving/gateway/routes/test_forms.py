from __future__ import annotations

import base64
import contextlib
import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import pytest

from densenet_serving.gateway import uploads
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.gateway.uploads import MAX_FIELDS, Upload
from handler.errors import BadRequest, PayloadTooLarge, RequestError

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

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self.taken = 0

    async def stream(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            self.taken += 1
            yield piece


async def read(sender: Sender, settings: GatewaySettings, boundary: str = BOUNDARY) -> Upload:
    return await uploads.read_form(boundary.encode(), sender.stream(), settings)


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in (f"Content-Disposition: form-data; {disposition}", *headers))
    return f"--{BOUNDARY}\r\n{lines}\r\n".encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
JPEG = b"\xff\xd8\xff\xe0 a photo"


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
async def test_files_and_parameters_in_pieces_of_any_size(settings: GatewaySettings, size: int) -> None:
    contents = [b"\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n-", bytes(range(256)), b""]
    body = form(("file", contents[0]), ("top_k", b"5"), ("file", contents[1]), ("other", contents[2]))

    found = await read(Sender(body[i : i + size] for i in range(0, len(body), size)), settings)

    assert found == Upload([*contents], {"top_k": "5"})


async def test_many_parts_are_refused_before_the_rest_is_read(settings: GatewaySettings) -> None:
    sender = Sender(form(("file", b"x"), closed=False) for _ in range(2000))

    with pytest.raises(PayloadTooLarge, match="3 files"):
        await read(sender, settings)
    assert sender.taken == 4


async def test_a_file_past_its_limit_is_refused_as_it_arrives(settings: GatewaySettings) -> None:
    sender = Sender([form(("file", b"cat"), closed=False)[:-2]] + [b"x" * 100] * 1000)

    with pytest.raises(PayloadTooLarge, match=r"0\.0005 MB"):
        await read(sender, replace(settings, max_file_bytes=500))
    assert sender.taken == 6


@pytest.mark.parametrize("closed", [True, False])
async def test_no_bytes_are_kept_until_the_collector_comes(settings: GatewaySettings, closed: bool) -> None:
    photo = bytes(2_000_000)
    sender = Sender([form(("file", photo), closed=closed)])
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        with contextlib.suppress(BadRequest):
            await read(sender, replace(settings, max_body_bytes=3_000_000))
        del sender
        assert tracemalloc.get_traced_memory()[0] < len(photo) / 2
    finally:
        tracemalloc.stop()
        gc.enable()


@pytest.mark.parametrize(
    "disposition",
    [
        'name="file"; filename="cat.jpg"',
        "name=file; filename=cat.jpg",
        'NAME="file"; FILENAME="cat.jpg"',
        'name="file"; filename="a;b.jpg"',
        'name="file"; filename="a\\"b.jpg"',
        'name="file"; filename="a%22b.jpg"',
        'name="file"; filename="Foto ü 猫.jpg"',
        "name=\"file\"; filename*=UTF-8''%e2%82%ac.jpg",
        'name="file"; filename="x"; filename*=UTF-8\'\'%e2%82%ac.jpg',
        'name="file"; filename="C:\\photos\\cat.jpg"',
        'name="file"; filename=""',
        'filename="cat.jpg"',
    ],
)
async def test_a_part_with_a_file_name_is_a_file(settings: GatewaySettings, disposition: str) -> None:
    body = part('name="csrf_token"', b"abc") + part(disposition, JPEG, "content-type: text/plain") + END
    assert (await read(Sender([body]), settings)).photos == [JPEG]


@pytest.mark.parametrize("text", [b"abc123", b"Upload", b"", "ü 猫".encode()])
@pytest.mark.parametrize("kind", ["Content-Type: text/plain; charset=utf-8", "X: y"])
async def test_a_part_without_one_is_a_field(settings: GatewaySettings, text: bytes, kind: str) -> None:
    photo = part('name="file"; filename="cat.jpg"', JPEG, "Content-Type: image/jpeg")
    field = part('name="submit"', text, kind)
    for body in (field + photo, photo + field, field + field + photo + field):
        assert (await read(Sender([body + END]), settings)).photos == [JPEG]


async def test_a_file_input_that_was_not_filled_is_no_file(settings: GatewaySettings) -> None:
    empty = part('name="second"; filename=""', b"", "Content-Type: application/octet-stream")
    photo = part('name="file"; filename="cat.jpg"', JPEG)
    for body, photos in ((empty + photo + empty, [JPEG]), (photo + empty + photo, [JPEG, JPEG]), (empty, [])):
        assert (await read(Sender([body + END]), settings)).photos == photos


@pytest.mark.parametrize("content", [JPEG, base64.b64encode(JPEG * 20), b"data:image/jpeg;base64,/9j/4AAQSkZJ"])
async def test_without_a_file_a_field_that_holds_an_image_is_the_photo(
    settings: GatewaySettings, content: bytes
) -> None:
    token = part('name="csrf_token"', b"dGhpcyBpcyBhIHRva2Vu")
    body = token + part('name="photo"', content) + token
    assert (await read(Sender([body + END]), settings)).photos == [content]
    assert (await read(Sender([token + END]), settings)).photos == []


@pytest.mark.parametrize("before", [b"", b"\r\n", b"This is a message with several parts.\r\n"])
@pytest.mark.parametrize("end", [END, END[:-2], END + b"behind the end\r\n"])
@pytest.mark.parametrize("size", [1, 10_000])
async def test_what_is_around_the_parts_is_dropped(
    settings: GatewaySettings, before: bytes, end: bytes, size: int
) -> None:
    body = before + part('name="file"; filename="cat.jpg"', JPEG) + end
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    assert (await read(Sender(pieces), settings)).photos == [JPEG]


CUT_SHORT, MALFORMED = "ends in the middle", "malformed"


@pytest.mark.parametrize(
    ("body", "error", "fragment"),
    [
        (form(*[("file", b"x")] * 4), PayloadTooLarge, "3 files"),
        (part('name="a"', b"") * (MAX_FIELDS + 1), PayloadTooLarge, "1000 fields"),
        (form(("top_k", b"1"), ("Top-K", b"2")), BadRequest, "top_k twice"),
        (b"", BadRequest, CUT_SHORT),
        (form(("file", b"cat"), closed=False), BadRequest, CUT_SHORT),
        (form(("file", b"cat"))[:40], BadRequest, CUT_SHORT),
        (b"no form at all", BadRequest, MALFORMED),
        (b"x" * 5000, BadRequest, MALFORMED),
        (f"--{BOUNDARY}\r\n\0: y\r\n\r\n".encode(), BadRequest, MALFORMED),
    ],
)
async def test_what_is_refused(
    settings: GatewaySettings, body: bytes, error: type[RequestError], fragment: str
) -> None:
    with pytest.raises(error, match=fragment):
        await read(Sender([body]), settings)


async def test_a_boundary_longer_than_the_standard_allows(settings: GatewaySettings) -> None:
    with pytest.raises(BadRequest, match=MALFORMED):
        await read(Sender([]), settings, "x" * 1000)
