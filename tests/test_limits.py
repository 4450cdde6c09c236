"""A limit has one place, handler/settings.py or config.properties: every other file that states it is checked here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from densenet_serving import paths, properties
from densenet_serving.gateway.__main__ import KEEP_ALIVE_SECONDS
from densenet_serving.gateway.connections import HEAD_SECONDS
from densenet_serving.gateway.protocol import MAX_HEAD_BYTES
from densenet_serving.gateway.settings import GatewaySettings
from handler.settings import MAX_REQUEST_BYTES, Settings

SETTINGS, SERVER, GATEWAY = Settings(), properties.read(paths.SERVER_CONFIG), GatewaySettings(Path(), "")


def test_the_largest_request_is_torchserves_and_the_gateways() -> None:
    assert int(SERVER["max_request_size"]) == GATEWAY.max_body_bytes == MAX_REQUEST_BYTES
    assert GATEWAY.max_in_flight < int(SERVER["job_queue_size"])
    assert SETTINGS.max_image_bytes < MAX_REQUEST_BYTES
    assert GATEWAY.within(SERVER, {"limits": {}}) == GATEWAY
    sources = (path for folder in ("handler", "densenet_serving") for path in Path(paths.ROOT, folder).rglob("*.py"))
    assert [path.name for path in sources if f"{MAX_REQUEST_BYTES:_}" in path.read_text()] == ["settings.py"]


def test_those_of_envoy_are_the_gateways() -> None:
    static = yaml.safe_load((paths.ROOT / "deploy" / "envoy.yaml").read_text())["static_resources"]
    manager = static["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    [cluster] = static["clusters"]
    assert manager["max_request_headers_kb"] * 1024 == MAX_HEAD_BYTES
    assert manager["request_headers_timeout"] == f"{HEAD_SECONDS}s"
    assert manager["http_filters"][0]["typed_config"]["max_request_bytes"] == MAX_REQUEST_BYTES
    assert manager["request_timeout"] == f"{GATEWAY.upload_seconds}s"
    limits = cluster["circuit_breakers"]
    assert limits["per_host_thresholds"][0]["max_connections"] < GATEWAY.max_connections_per_address
    assert limits["thresholds"][0]["retry_budget"]["min_retry_concurrency"] > GATEWAY.max_in_flight
    # Who closes an idle connection last may lose a request on it.
    [protocol] = cluster["typed_extension_protocol_options"].values()
    assert float(protocol["common_http_protocol_options"]["idle_timeout"][:-1]) < KEEP_ALIVE_SECONDS


PHOTO = (f"{SETTINGS.max_image_bytes // 10**6} MB", f"{SETTINGS.max_image_pixels // 10**6} megapixels")
REQUEST = (f"{MAX_REQUEST_BYTES >> 20} MiB", f"{SETTINGS.max_request_pixels // 10**6} megapixels")


@pytest.mark.parametrize(
    ("document", "stated"),
    [
        ("api.md", [*PHOTO, *REQUEST, f"{SETTINGS.max_images} photos"]),
        (
            "security.md",
            [*PHOTO, *REQUEST, f"| {SETTINGS.max_images} a request |", f"{MAX_REQUEST_BYTES >> 20} MiB a request"],
        ),
        (
            "configuration.md",
            [
                *PHOTO,
                *REQUEST,
                f"{SETTINGS.max_images} photos",
                f"| requests that wait for a worker | {SERVER['job_queue_size']} |",
                f"| {SETTINGS.decode_seconds} s, {SETTINGS.decode_memory // 10**6} MB |",
                f"| memory a worker may grow by | {SETTINGS.memory_headroom // 10**9} GB |",
                f"| lifetime of a token | {SERVER['token_expiration_min']} minutes |",
                f"| requests of an API key | {GATEWAY.rate.replace('/', ' a ')} |",
                f"| seconds of decoding, of one client | {GATEWAY.decode_seconds:g} a minute |",
            ],
        ),
        (
            "scaling.md",
            [
                REQUEST[0],
                f"headers over {MAX_HEAD_BYTES >> 10} KiB",
                f"{HEAD_SECONDS} and {GATEWAY.upload_seconds:g} s",
            ],
        ),
    ],
)
def test_those_of_the_documents_are_the_codes(document: str, stated: list[str]) -> None:
    text = (paths.ROOT / "docs" / document).read_text()
    assert [fact for fact in stated if not re.search(rf"(?<!\d){re.escape(fact)}", text)] == []
