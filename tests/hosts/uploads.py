"""Uploads that stop in the middle and so keep a place in each gateway: how a test makes gateways small.

    python -m tests.hosts.uploads COUNT ADDRESS PORT

It prints a line once every upload has its place, and ends with its standard input. A program of its own, because a
gateway counts requests by client, and these must come from the machine that all others come from.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.hosts.network import Machine

# A gateway that read these bytes waits 25 s longer for more (min_upload_rate), and the test is over before.
BEGUN = b"--b\r\n" + b'Content-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + bytes(100_000)
# "Expect": a gateway answers 100 when it begins to read, and by then the upload has its place.
HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
START_SECONDS = 30


@contextmanager
def uploads(machine: Machine, count: int, address: str, port: int) -> Iterator[None]:
    """Keep so many places of a gateway."""
    arguments = [sys.executable, "-m", "tests.hosts.uploads", str(count), address, str(port)]
    with subprocess.Popen(machine.command(arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            yield
        finally:
            process.kill()


async def hold(count: int, address: str, port: int) -> None:
    writers = await asyncio.gather(*(begin(address, port) for _ in range(count)))
    print("begun", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for writer in writers:
        writer.close()


async def begin(address: str, port: int) -> asyncio.StreamWriter:
    async with asyncio.timeout(START_SECONDS):
        reader, writer = await asyncio.open_connection(address, port)
        writer.write(HEAD)
        assert await reader.readexactly(len(CONTINUE)) == CONTINUE
        writer.write(BEGUN)
    return writer


def main(arguments: Sequence[str]) -> None:
    count, address, port = arguments
    asyncio.run(hold(int(count), address, int(port)))


if __name__ == "__main__":
    main(sys.argv[1:])
