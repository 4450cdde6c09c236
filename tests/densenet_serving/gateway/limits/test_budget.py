from __future__ import annotations

import pytest

from densenet_serving.gateway.budget import IDLE, IN_USE, SLOW, START_BYTES, WAITING, Budget, Pace
from densenet_serving.gateway.errors import Busy

FAST = 10 * SLOW


class Fake:
    """A connection or a request of one client."""

    def __init__(self, owner: str, pace: float = FAST) -> None:
        self.owner = owner
        self.pace = pace
        self.ended = False

    def make_room(self) -> None:
        self.ended = True


def holders(budget: Budget, owner: str, count: int, pace: float = FAST) -> list[Fake]:
    made = [Fake(owner, pace) for _ in range(count)]
    assert all(budget.try_take(one) for one in made)
    return made


def ended(*holders: Fake) -> list[bool]:
    return [one.ended for one in holders]


def test_one_client_cannot_take_everything() -> None:
    budget = Budget(4, 2)
    first, _ = holders(budget, "a", 2)
    with pytest.raises(Busy) as caught:
        budget.take(Fake("a"))
    assert caught.value.retry_after == 1
    assert not first.ended

    budget.give_back(first)
    budget.give_back(first)
    holders(budget, "a", 1)
    assert not budget.try_take(Fake("a"))


def test_what_was_taken_comes_back_as_a_whole() -> None:
    budget = Budget(10, 6)
    for _ in range(3):
        one = Fake("a")
        budget.take(one, 2)
        budget.take(one, 4)
        assert not budget.try_take(one, 1)
        budget.give_back(one)
    assert budget.used_by("a") == 0


def test_the_slowest_of_the_client_with_the_most_makes_room() -> None:
    budget = Budget(7, 4)
    few = holders(budget, "few", 3)
    many = [*holders(budget, "many", 3, FAST + 1), *holders(budget, "many", 1, FAST)]

    assert budget.try_take(Fake("new"))

    assert ended(*few, *many) == [False] * 6 + [True]


@pytest.mark.parametrize("clients", [1, 4, 16])
def test_who_asks_for_little_gets_it_whatever_others_keep(clients: int) -> None:
    budget = Budget(64, 64)
    for i in range(clients):
        holders(budget, f"attacker {i}", 64 // clients)

    good = [Fake("good") for _ in range(2)]
    assert all(budget.try_take(one) for one in good)
    assert not any(ended(*good))


@pytest.mark.parametrize(("pace", "makes_room"), [(SLOW - 1, True), (SLOW, False), (WAITING, False), (IN_USE, False)])
def test_among_equals_only_a_slow_one_makes_room(pace: float, makes_room: bool) -> None:
    budget = Budget(3, 1)
    [one] = holders(budget, "a", 1, pace)
    holders(budget, "b", 1)
    holders(budget, "c", 1)

    assert budget.try_take(Fake("d")) == makes_room
    assert one.ended == makes_room


def test_of_a_full_client_a_slow_one_makes_room_for_its_own() -> None:
    budget = Budget(10, 2)
    slow, fast = holders(budget, "a", 1, SLOW - 1)[0], holders(budget, "a", 1)[0]

    assert budget.try_take(Fake("a"))
    assert ended(slow, fast) == [True, False]
    assert not budget.try_take(Fake("a"))


def test_nobody_makes_room_who_is_in_use() -> None:
    budget = Budget(4)
    busy = holders(budget, "a", 4, IN_USE)

    assert not budget.try_take(Fake("b"))
    assert not any(ended(*busy))


def test_an_idle_one_makes_room_first_and_the_longest_unused_before_others() -> None:
    budget = Budget(6)
    busy = holders(budget, "busy", 3)
    idle = holders(budget, "idle", 3, IDLE)
    budget.touch(idle[0])

    assert budget.try_take(Fake("new"))
    assert ended(*busy, *idle) == [False, False, False, False, True, False]


def test_a_holder_that_grows_does_not_end_itself() -> None:
    budget = Budget(4)
    large = Fake("a", SLOW - 1)

    assert budget.try_take(large, 3)
    assert not budget.try_take(large, 2)
    assert not large.ended


def test_a_new_transfer_is_fast_and_one_that_stops_becomes_slow() -> None:
    now = 100.0
    pace = Pace(lambda: now)
    assert pace.rate == START_BYTES

    now += 9
    assert pace.rate == START_BYTES / 10
    pace.size += START_BYTES
    assert pace.rate == START_BYTES / 5
    assert pace.age == 9


def test_the_time_for_the_next_byte_follows_from_the_least_rate() -> None:
    now = 100.0
    pace = Pace(lambda: now)
    assert pace.seconds_left(1000, grace=10) == 10
    pace.size, now = 5000, 112.0
    assert pace.seconds_left(1000, grace=10) == 3
