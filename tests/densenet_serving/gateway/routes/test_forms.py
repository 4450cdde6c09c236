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


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in (f"Content-Disposition: form-data; {disposition}", *headers))
    return f"--{BOUNDARY}\r\n{lines}\r\n".encode() + content + b"\r\n"


def photo(content: bytes, name: str = "file") -> bytes:
    return part(f'name="{name}"; filename="x.jpg"', content)


async def read(pieces: Iterable[bytes], settings: GatewaySettings, boundary: str = BOUNDARY) -> Upload:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return await uploads.read_form(boundary.encode(), stream(), settings)


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[i : i + size] for i in range(0, len(body), size)]


END = f"--{BOUNDARY}--\r\n".encode()
JPEG = b"\xff\xd8\xff\xe0 a photo"


@pytest.mark.parametrize("size", [1, 2, 7, 64, 10_000])
async def test_files_and_parameters_in_pieces_of_any_size(settings: GatewaySettings, size: int) -> None:
    contents = [b"\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n-", bytes(range(256)), b""]
    first, second, third = contents
    body = photo(first) + photo(b"5", "top_k") + photo(second) + photo(third, "other") + END
    assert await read(cut(body, size), settings) == Upload([*contents], {"top_k": "5"})


@pytest.mark.parametrize(
    ("pieces", "taken", "fact"),
    [
        ([photo(b"x")] * 2000, 4, "3 files"),
        ([photo(b"cat")[:-2], *[b"x" * 100] * 1000], 6, r"0\.0005 MB"),
    ],
)
async def test_too_much_is_refused_before_the_rest_is_read(
    settings: GatewaySettings, pieces: list[bytes], taken: int, fact: str
) -> None:
    sent = iter(pieces)
    with pytest.raises(PayloadTooLarge, match=fact):
        await read(sent, replace(settings, max_file_bytes=500))
    assert len(pieces) - len(list(sent)) == taken


@pytest.mark.parametrize("end", [END, b""])
async def test_no_bytes_are_kept_until_the_collector_comes(settings: GatewaySettings, end: bytes) -> None:
    sent = iter([photo(bytes(2_000_000)) + end])
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        with contextlib.suppress(BadRequest):
            await read(sent, replace(settings, max_body_bytes=3_000_000))
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
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
    assert (await read([body], settings)).photos == [JPEG]


@pytest.mark.parametrize("text", [b"abc123", b"Upload", b"", "ü 猫".encode()])
@pytest.mark.parametrize("kind", ["Content-Type: text/plain; charset=utf-8", "X: y"])
async def test_a_part_without_one_is_a_field(settings: GatewaySettings, text: bytes, kind: str) -> None:
    field = part('name="submit"', text, kind)
    for body in (field + photo(JPEG), photo(JPEG) + field, field + field + photo(JPEG) + field):
        assert (await read([body + END], settings)).photos == [JPEG]


async def test_a_file_input_that_was_not_filled_is_no_file(settings: GatewaySettings) -> None:
    empty, full = part('name="b"; filename=""', b"", "Content-Type: application/octet-stream"), photo(JPEG)
    for body, photos in ((empty + full + empty, [JPEG]), (full + empty + full, [JPEG, JPEG]), (empty, [])):
        assert (await read([body + END], settings)).photos == photos


@pytest.mark.parametrize("content", [JPEG, base64.b64encode(JPEG * 20), b"data:image/jpeg;base64,/9j/4AAQSkZJ"])
async def test_without_a_file_a_field_that_holds_an_image_is_the_photo(
    settings: GatewaySettings, content: bytes
) -> None:
    token = part('name="csrf_token"', b"dGhpcyBpcyBhIHRva2Vu")
    body = token + part('name="photo"', content) + token
    assert (await read([body + END], settings)).photos == [content]
    assert (await read([token + END], settings)).photos == []


@pytest.mark.parametrize("before", [b"", b"\r\n", b"This is a message with several parts.\r\n"])
@pytest.mark.parametrize("end", [END, END[:-2], END + b"behind the end\r\n"])
@pytest.mark.parametrize("size", [1, 10_000])
async def test_what_is_around_the_parts_is_dropped(
    settings: GatewaySettings, before: bytes, end: bytes, size: int
) -> None:
    assert (await read(cut(before + photo(JPEG) + end, size), settings)).photos == [JPEG]


CUT_SHORT, MALFORMED = "ends in the middle", "malformed"


@pytest.mark.parametrize(
    ("body", "error", "fragment"),
    [
        (photo(b"x") * 4 + END, PayloadTooLarge, "3 files"),
        (part('name="a"', b"") * (MAX_FIELDS + 1), PayloadTooLarge, "1000 fields"),
        (photo(b"1", "top_k") + photo(b"2", "Top-K") + END, BadRequest, "top_k twice"),
        (b"", BadRequest, CUT_SHORT),
        (photo(b"cat"), BadRequest, CUT_SHORT),
        (photo(b"cat")[:40], BadRequest, CUT_SHORT),
        (b"no form at all", BadRequest, MALFORMED),
        (b"x" * 5000, BadRequest, MALFORMED),
        (f"--{BOUNDARY}\r\n\0: y\r\n\r\n".encode(), BadRequest, MALFORMED),
    ],
)
async def test_what_is_refused(
    settings: GatewaySettings, body: bytes, error: type[RequestError], fragment: str
) -> None:
    with pytest.raises(error, match=fragment):
        await read([body], settings)


async def test_a_boundary_longer_than_the_standard_allows(settings: GatewaySettings) -> None:
    with pytest.raises(BadRequest, match=MALFORMED):
        await read([], settings, "x" * 1000)
