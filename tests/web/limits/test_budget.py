from __future__ import annotations

from contextlib import ExitStack

import pytest

from web.errors import ServiceUnavailable
from web.limits import clients
from web.limits.budget import Admission, Budget


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
