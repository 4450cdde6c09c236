from __future__ import annotations

from densenet_serving.gateway.torchserve.deaths import FORGIVEN, QUIET_SECONDS, TOGETHER_SECONDS, Deaths


def test_who_was_alone_is_not_tried_again() -> None:
    assert not Deaths().may_try_again(others=0)


def test_some_deaths_a_minute_are_forgiven_to_all_that_shared_them() -> None:
    now = 1000.0
    deaths = Deaths(lambda: now)
    for _ in range(FORGIVEN):
        assert deaths.may_try_again(3)
        now += TOGETHER_SECONDS / 2
        assert deaths.may_try_again(3)
        now += TOGETHER_SECONDS

    assert not deaths.may_try_again(3)
    now += QUIET_SECONDS + 1
    assert deaths.may_try_again(1)
