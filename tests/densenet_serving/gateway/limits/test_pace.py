from __future__ import annotations

from densenet_serving.gateway.limits.pace import START_BYTES, Pace


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
