from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from densenet_serving import paths, properties
from densenet_serving.gateway.settings import GatewaySettings

ORIGIN = "https://shop.example"


def test_settings_travel_as_json(settings: GatewaySettings) -> None:
    sent = replace(settings, cors_origins=(ORIGIN,), allowed_hosts=("photos.example",), port=9000)
    sent = replace(sent, keys=Path("/etc/keys.json"), foreground=True)
    assert GatewaySettings.from_json(sent.to_json()) == sent


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104
        ("::", "http://[::1]:8000"),
    ],
)
def test_a_gateway_on_every_address_is_asked_at_one_it_knows(settings: GatewaySettings, host: str, url: str) -> None:
    assert replace(settings, host=host).url == url


def test_limits_are_those_of_the_server_and_the_model(settings: GatewaySettings) -> None:
    usual = settings.within(properties.read(paths.SERVER_CONFIG), {})
    assert (usual.max_body_bytes, usual.max_in_flight, usual.max_files) == (33_554_432, 64, settings.max_files)
    assert usual.max_held_bytes == settings.max_held_bytes

    torchserve = {"max_request_size": "200000000", "job_queue_size": "10"}
    model = {"limits": {"max_images": 5, "max_image_bytes": 190_000_000}}
    large = settings.within(torchserve, model)
    assert (large.max_body_bytes, large.max_files, large.max_file_bytes) == (200_000_000, 5, 190_000_000)
    assert (large.max_held_bytes, large.max_held_bytes_per_client) == (400_000_000, 200_000_000)
    assert large.max_in_flight == 6


@pytest.mark.parametrize(("queue", "in_flight"), [("1", 1), ("50", 32), ("1000", 64)])
def test_what_is_passed_on_fits_the_queue(settings: GatewaySettings, queue: str, in_flight: int) -> None:
    assert settings.within({"job_queue_size": queue}, {"limits": None}).max_in_flight == in_flight
