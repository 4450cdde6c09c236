from __future__ import annotations

from typing import Any

import pytest
import yaml

from densenet_serving import paths
from handler.errors import ArchiveError
from handler.settings import Settings


def test_the_archives_own_file_spells_out_the_defaults() -> None:
    config = yaml.safe_load((paths.HANDLER / "model-config.yaml").read_text())
    assert Settings.from_config(config) == Settings()
    assert set(config["handler"]) == set(Settings.__dataclass_fields__)


@pytest.mark.parametrize("config", [{}, {"handler": None}, {"handler": {}}, {"maxWorkers": 4}])
def test_everything_has_a_default(config: dict[str, Any]) -> None:
    assert Settings.from_config(config) == Settings()


@pytest.mark.parametrize("section", [["top_k"], "top_k", 3])
def test_the_section_must_be_a_mapping(section: Any) -> None:
    with pytest.raises(ArchiveError, match="must be a mapping"):
        Settings.from_config({"handler": section})


@pytest.mark.parametrize(
    ("unknown", "named"),
    [({"topk": 5}, "topk"), ({"b": 1, "a": 1}, "a, b"), ({True: 1, "x": 2}, "True, x"), ({3: 1}, "3")],
)
def test_unknown_keys_are_named(unknown: dict[Any, Any], named: str) -> None:
    with pytest.raises(ArchiveError, match=named):
        Settings.from_config({"handler": {"top_k": 1} | unknown})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("top_k", value) for value in (0, "5", True, None)),
        ("max_images", 0),
        ("max_image_bytes", -1),
        ("max_image_pixels", 1.5),
        *(("decode_seconds", value) for value in (0, 11, "1")),
        ("decode_memory", -1),
        ("threads", -1),
        *(("min_probability", value) for value in (2, -0.1, True, "0.5", ["auto"], float("nan"))),
        *(("engine", value) for value in ("tensorflow", ["torch"])),
        *(("precision", value) for value in ("f16", None)),
        *(("jpeg_decode", value) for value in ("fast", 2)),
    ],
)
def test_bad_values_are_named_with_what_was_expected(key: str, value: Any) -> None:
    with pytest.raises(ArchiveError, match=f"handler.{key} in model-config.yaml"):
        Settings.from_config({"handler": {key: value}})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threads", 0),
        ("decode_seconds", 0.5),
        *(("min_probability", value) for value in (0, 1, "auto")),
        ("engine", "torch"),
        ("precision", "f32"),
        ("jpeg_decode", "scaled"),
    ],
)
def test_good_values(key: str, value: Any) -> None:
    assert getattr(Settings.from_config({"handler": {key: value}}), key) == value


@pytest.mark.parametrize(("classes", "expected"), [(1, 1), (2, 0.6), (3, 0.47), (5, 0.36), (10, 0.28), (1000, 0.2)])
def test_the_threshold_is_above_chance(classes: int, expected: float) -> None:
    assert Settings().threshold(classes) == expected
    assert Settings(min_probability=0.15).threshold(classes) == 0.15
