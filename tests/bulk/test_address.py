"""Addresses at which no Ray cluster is."""

from __future__ import annotations

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[bulk]'")

from densenet_serving.bulk import cluster
from densenet_serving.errors import CommandError


@pytest.mark.parametrize("address", ["{nobody}", "ray://{nobody}", "ray://", "nonsense", "nonsense:port", "a b:1"])
def test_an_address_at_which_no_cluster_is_gets_a_sentence_at_once(address: str, nobody: str) -> None:
    given = address.format(nobody=nobody.removeprefix("http://"))
    with pytest.raises(CommandError, match=given), cluster.connect(given, 1, 0, dashboard=False):
        pass


def test_auto_is_what_ray_takes_it_for(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", nobody.removeprefix("http://"))
    with pytest.raises(CommandError, match="auto"):
        cluster.find("auto")
