"""Addresses at which no Ray cluster is: a sentence at once, and no minutes of waiting."""

from __future__ import annotations

import pytest

from densenet_serving.bulk import cluster
from densenet_serving.errors import CommandError
from tests.bulk.hosts import needs_ray

pytestmark = needs_ray


@pytest.mark.parametrize("address", ["{nobody}", "ray://{nobody}", "ray://", "nonsense", "nonsense:port", "a b:1"])
def test_nobody_is_there(address: str, nobody: str) -> None:
    given = address.format(nobody=nobody.removeprefix("http://"))
    message = rf"No Ray cluster answers at {given} \(.+\): give HOST:PORT of its head"
    with pytest.raises(CommandError, match=message), cluster.connect(given, 1, 0, dashboard=False):
        pass


def test_auto_is_what_ray_takes_it_for(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", nobody.removeprefix("http://"))
    with pytest.raises(CommandError, match=r"No Ray cluster answers at auto \(.+\)"):
        cluster.find("auto")
