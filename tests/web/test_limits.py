from __future__ import annotations

from contextlib import ExitStack

import pytest

from scripts.errors import CommandError
from web import clients
from web.errors import ServiceUnavailable, TooManyRequests
from web.limits import Admission, Budget, RateLimit


@pytest.mark.anyio
async def test_each_key_has_its_own_count() -> None:
    rate = RateLimit("2/hour")
    for _ in range(2):
        await rate.count("phone")

    with pytest.raises(TooManyRequests, match=r"The key phone may make 2 per 1 hour: wait \d+ s\.") as caught:
        await rate.count("phone")
    assert caught.value.headers is not None
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 7200
    await rate.count("laptop")


@pytest.mark.parametrize("rate", ["", "often", "10", "10/fortnight"])
def test_what_is_no_rate(rate: str) -> None:
    with pytest.raises(CommandError, match=r"is no rate: write it as 10/second or 600/minute"):
        RateLimit(rate)


def test_so_many_at_a_time() -> None:
    admission = Admission(2)
    with admission(), admission():
        with pytest.raises(ServiceUnavailable, match="busy") as caught, admission():
            pass
        assert caught.value.headers == {"Retry-After": "1"}


def test_who_fails_makes_room() -> None:
    admission = Admission(1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), admission():
            raise ZeroDivisionError


def test_one_client_cannot_take_everything() -> None:
    admission = Admission(4, 2)
    with ExitStack() as stack:
        for client in ("a", "b"):
            clients.current.set(client)
            for _ in range(2):
                stack.enter_context(admission())
            with pytest.raises(ServiceUnavailable), admission():
                pass
        clients.current.set("c")
        with pytest.raises(ServiceUnavailable), admission():  # all together have four
            pass
    with admission():
        pass


def test_what_was_taken_comes_back() -> None:
    budget = Budget(10, 6)
    for _ in range(3):
        with budget.account() as take:
            take(2)
            take(4)
            with pytest.raises(ServiceUnavailable):
                take(1)
