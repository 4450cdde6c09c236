"""The devices on which the page is tried, as Playwright describes them."""

from __future__ import annotations

from typing import Any

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
WIDER_PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
DARK: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"}
DARK_PHONE: dict[str, Any] = WIDER_PHONE | {"color_scheme": "dark"}
# A person who types a wrong key into the browser's own prompt and then closes it.
MISTAKEN: dict[str, Any] = DESKTOP | {"http_credentials": {"username": "anybody", "password": "wrong"}}
CLIPBOARD: dict[str, Any] = DESKTOP | {"permissions": ["clipboard-read", "clipboard-write"]}
