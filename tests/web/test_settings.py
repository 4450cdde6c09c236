from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scripts import paths, properties
from web.settings import GatewaySettings

ORIGIN = "https://shop.example"


def test_settings_travel_as_json(settings: GatewaySettings) -> None:
    sent = replace(settings, cors_origins=(ORIGIN,), allowed_hosts=("photos.example",), port=9000)
    sent = replace(sent, keys=Path("/etc/keys.json"), foreground=True)

    assert GatewaySettings.from_json(sent.to_json()) == sent
    assert sent.url == "http://127.0.0.1:9000"
    assert replace(sent, host="::1").url == "http://[::1]:9000"


@pytest.mark.parametrize(("host", "url"), [("0.0.0.0", "http://127.0.0.1:8000"), ("::", "http://[::1]:8000")])  # noqa: S104
def test_a_gateway_on_every_address_is_asked_at_one_it_knows(settings: GatewaySettings, host: str, url: str) -> None:
    assert replace(settings, host=host).url == url


def test_the_gateway_takes_as_large_a_body_as_torchserve(tmp_path: Path) -> None:
    torchserve = properties.read(paths.SERVER_CONFIG)

    assert GatewaySettings(tmp_path, "densenet121").max_body_bytes == int(torchserve["max_request_size"])
