"""Many requests, a tenth of them bad: nothing grows, and no worker is replaced."""

from __future__ import annotations

import itertools
from typing import Any

from densenet_serving.client.http import Client
from densenet_serving.server.torchserve import Server
from tests.faults.conftest import Sizes, workers
from tests.faults.load import Answer, Target, closed_loop, memory_of, statuses

CLIENTS = 8
BAD = {400: (b"", b"\xff\xd8\xff\xe0 no more"), 415: (b"GIF is not what this is", b"<html></html>")}


def test_memory_after_a_soak(
    running: Server, target: Target, client: Client, photo: bytes, sizes: Sizes, record_property: Any
) -> None:
    bad = itertools.cycle([body for bodies in BAD.values() for body in bodies])
    numbers = itertools.count()

    def ask() -> Answer:
        return target.ask(next(bad) if next(numbers) % 10 == 9 else photo)

    pids = workers(client)
    answers = closed_loop(ask, CLIENTS, count=sizes.soak_settled)
    settled = memory_of(running.pid)
    answers += closed_loop(ask, CLIENTS, count=sizes.soak_requests - sizes.soak_settled)
    ended = memory_of(running.pid)

    record_property("settled, ended", (settled, ended))
    assert all(answer.is_clean() for answer in answers)
    count = statuses(answers)
    assert count[200] == sizes.soak_requests * 9 // 10
    assert count[400] + count[415] == sizes.soak_requests // 10
    assert workers(client) == pids
    assert settled.keys() == ended.keys()
    for pid, before in settled.items():
        assert ended[pid] < (1 + sizes.soak_growth) * before
