from __future__ import annotations

import http.client
import json

import pytest

from benchmarks.gateway import Road, summarize
from benchmarks.results import Spread
from densenet_serving.errors import CommandError
from tests.local_server import Reply, serve


def test_what_the_gateway_adds_is_the_difference_of_one_rounds_medians() -> None:
    rounds = [
        [{"form": 20.0, "body": 17.0, "gateway": 21.0}, {"form": 90.0, "body": 80.0, "gateway": 70.0}],
        [{"form": 30.0, "body": 25.0, "gateway": 29.0}] * 2,
    ]

    result = summarize(rounds)

    assert result.requests == 4
    assert result.p50_ms["gateway"] == Spread(25.0, 21.0, 29.0)
    assert result.p95_ms["form"] == Spread(60.0, 30.0, 90.0)
    assert result.adds_to_form_ms == Spread(0.0, -1.0, 1.0)
    assert result.adds_to_body_ms == Spread(4.0, 4.0, 4.0)


def test_a_road_times_good_answers_only() -> None:
    with serve() as local:
        local.on("POST /predict", Reply(body=b"{}"))
        local.on("POST /broken", Reply(503, json.dumps({"message": "busy"}).encode()))
        connection = http.client.HTTPConnection(local.url.removeprefix("http://"), timeout=5)
        assert Road(connection, "/predict", b"photo", {"X": "y"}).send() > 0
        with pytest.raises(CommandError, match=r"/broken answered 503: .*busy"):
            Road(connection, "/broken", b"photo", {}).send()
        connection.close()
    assert [asked.body for asked in local.asked] == [b"photo"] * 2
