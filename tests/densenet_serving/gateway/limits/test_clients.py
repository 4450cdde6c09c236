from __future__ import annotations

import pytest

from densenet_serving.errors import ServingError
from densenet_serving.gateway.clients import network, network_of, with_key


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_what_one_client_has(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_key_named_like_an_address_is_another_client() -> None:
    assert with_key("192.0.2.7") != network_of("192.0.2.7")


def test_the_addresses_of_proxies() -> None:
    assert [network(text) for text in ("10.0.0.5", "10.1.2.3/8", "::1")] == ["10.0.0.5/32", "10.0.0.0/8", "::1/128"]
    for text in ("proxy.example.org", "*", ""):
        with pytest.raises(ServingError, match="is no address: write it as"):
            network(text)
