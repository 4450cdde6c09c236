from __future__ import annotations

from web.torchserve.deaths import QUIET_SECONDS, TOGETHER_SECONDS, Deaths


def test_who_was_alone_is_not_tried_again() -> None:
    assert not Deaths().may_try_again(others=0)


def test_a_death_a_minute_is_forgiven_to_all_that_shared_it() -> None:
    now = 1000.0
    deaths = Deaths(lambda: now)
    assert deaths.may_try_again(3)
    now += TOGETHER_SECONDS / 2
    assert deaths.may_try_again(3)

    for _ in range(3):  # nor do further deaths prolong it
        now += QUIET_SECONDS / 4
        assert not deaths.may_try_again(3)

    now += QUIET_SECONDS / 2
    assert deaths.may_try_again(1)
