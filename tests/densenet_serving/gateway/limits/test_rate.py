from __future__ import annotations

import pytest

from densenet_serving.errors import ServingError
from densenet_serving.gateway.errors import TooManyRequests
from densenet_serving.gateway.limits.rate import RateLimit


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
    with pytest.raises(ServingError, match=r"is no rate: write it as 10/second or 600/minute"):
        RateLimit(rate)
