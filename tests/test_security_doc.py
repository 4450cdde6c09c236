"""docs/security.md promises tests: they exist, and its numbers are those of the code."""

from __future__ import annotations

import re

import pytest
import torch

from densenet_serving import paths, properties
from handler.encodings import SIGNATURES
from handler.settings import Settings

TEXT = (paths.ROOT / "docs" / "security.md").read_text()
NAMED = sorted(set(re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", TEXT)))


def test_tests_are_named_with_their_file() -> None:
    assert len(NAMED) > 30
    assert len(re.findall(r"\btest_\w+(?!\.py)\b", re.sub(r"tests/[\w/]+\.py(::)?", "", TEXT))) == TEXT.count("::test_")


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (paths.ROOT / file).read_text(), re.MULTILINE), f"{file} has no {name}"


def test_the_limits_are_those_of_the_code() -> None:
    settings, server = Settings(), properties.read(paths.SERVER_CONFIG)
    assert f"{int(server['max_request_size']) >> 20} MiB a request" in TEXT
    assert f"{settings.max_image_bytes // 10**6} MB an image" in TEXT
    assert f"{settings.max_image_pixels // 10**6} megapixels" in TEXT
    assert f"| {settings.max_images} a request |" in TEXT
    assert len(SIGNATURES) == 8
    assert "eight formats" in TEXT


@pytest.mark.parametrize(
    "setting",
    ["enable_model_api=true", "install_py_dep_per_model=false", "enable_envvars_config=false", "token_expiration_min"],
)
def test_the_settings_are_those_of_config_properties(setting: str) -> None:
    assert setting in TEXT
    assert f"\n{setting}" in paths.SERVER_CONFIG.read_text()


def test_torch_is_newer_than_its_known_holes() -> None:
    """CVE-2025-32434 was closed in 2.6, CVE-2026-24747 in 2.10."""
    assert tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 10)
