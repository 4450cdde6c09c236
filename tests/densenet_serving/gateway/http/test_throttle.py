from __future__ import annotations

import pytest

from densenet_serving.gateway.http.throttle import Throttle


def test_a_throttle_spreads_work_over_time() -> None:
    now = 100.0
    throttle = Throttle(10, lambda: now)
    assert [throttle.delay(5), throttle.delay(5)] == [0.5, 1.0]  # whoever asks
    now = 103.0
    assert throttle.delay(1) == pytest.approx(0.1)  # what was not used is not saved up
