from __future__ import annotations

from dataclasses import replace

from web.settings import GatewaySettings

ORIGIN = "https://shop.example"


def test_settings_travel_as_json(settings: GatewaySettings) -> None:
    sent = replace(settings, cors_origins=(ORIGIN,), allowed_hosts=("photos.example",), port=9000)

    assert GatewaySettings.from_json(sent.to_json()) == sent
    assert sent.url == "http://127.0.0.1:9000"
    assert replace(sent, host="::1").url == "http://[::1]:9000"
