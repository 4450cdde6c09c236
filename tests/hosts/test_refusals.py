"""Three times as many photos as three units can answer: the rest is refused, and refusals are not multiplied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from densenet_serving.gateway.settings import GatewaySettings
from tests.faults.load import percentile
from tests.hosts.conftest import SECOND, Farm, Record
from tests.hosts.unit import PORT
from tests.hosts.uploads import uploads
from tests.pictures import SAMPLE_NAME

# Times the peak, and how many photos; a gateway gives the uploads below 35 s.
OVERLOAD, PHOTOS, FULL_PHOTOS = 3, 400, 4_000
# A unit has a third of this machine here, and so a small share of the places that it would fill on one of its own.
PLACES = 8
TAKEN = GatewaySettings(Path(), "").max_requests_per_client - PLACES
# Of what clients send, the most that may reach the hosts while they are overloaded: retries make it no worse.
MOST_REACHING = 1.2
COUNTERS = ("upstream_rq_total", "upstream_rq_retry", "upstream_rq_200", "upstream_rq_503")


@pytest.fixture
def small(farm: Farm) -> Iterator[None]:
    """Leave each gateway PLACES: uploads that stop in the middle keep the others."""
    with ExitStack() as stack:
        for unit in farm.units:
            stack.enter_context(uploads(farm.network.router, TAKEN, unit.machine.address, PORT))
        yield


@contextmanager
def counted(farm: Farm) -> Iterator[dict[str, int]]:
    """Count meanwhile what Envoy sends to hosts, and what TorchServe is asked."""

    def read() -> dict[str, int]:
        envoy = {name: farm.balancer.statistic(name) for name in COUNTERS}
        return envoy | {"asked": sum(unit.asked() for unit in farm.units)}

    before, counts = read(), dict[str, int]()
    yield counts
    counts |= {name: value - before[name] for name, value in read().items()}


@pytest.mark.usefixtures("small")
def test_overload_is_refused_and_not_multiplied(
    farm: Farm, pytestconfig: pytest.Config, record_property: Record
) -> None:
    photos = FULL_PHOTOS if pytestconfig.getoption("full") else PHOTOS
    with counted(farm) as counts:
        answers = farm.load(photos, OVERLOAD * farm.peak).answers()

    good = [sent for sent in answers if sent.status == requests.codes.ok]
    refused = [sent for sent in answers if sent.status == requests.codes.service_unavailable]
    record_property("offered_rate", round(OVERLOAD * farm.peak))
    record_property("sent_rate", round(len(answers) / (max(sent.begun for sent in answers) - answers[0].begun)))
    record_property("statuses", dict(Counter(sent.status for sent in answers)))
    record_property("counts", counts)
    for name, some in (("good", good), ("refused", refused)):
        times = [sent.seconds for sent in some]
        record_property(f"{name}_p50_p99_seconds", (round(percentile(times, 50), 3), round(percentile(times, 99), 3)))
    assert good
    assert refused
    assert len(good) + len(refused) == len(answers)
    assert {sent.name for sent in good} <= {SAMPLE_NAME, SECOND}
    assert all(sent.retry_after for sent in refused)
    assert counts["upstream_rq_total"] <= MOST_REACHING * len(answers)
    assert counts["asked"] == len(good)  # nobody computed what nobody waited for
