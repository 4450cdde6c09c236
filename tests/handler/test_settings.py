from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from handler import settings
from handler.errors import ArchiveError
from handler.settings import Settings, Threads, available_cores, default_workers, threads_per_worker
from scripts import paths


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
    with pytest.raises(ArchiveError, match=f"Remove {named} from .* it knows top_k, min_probability"):
        Settings.from_config({"handler": {"top_k": 1} | unknown})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("top_k", 0),
        ("top_k", "5"),
        ("top_k", True),
        ("top_k", None),
        ("max_images", 0),
        ("max_image_bytes", -1),
        ("max_image_pixels", 1.5),
        ("decode_seconds", 0),
        ("threads", -1),
        ("min_probability", 2),
        ("min_probability", -0.1),
        ("min_probability", True),
        ("min_probability", "0.5"),
        ("min_probability", float("nan")),
        ("engine", "tensorflow"),
        ("engine", ["torch"]),
        ("precision", "f16"),
        ("precision", None),
        ("jpeg_decode", "fast"),
        ("jpeg_decode", 2),
    ],
)
def test_bad_values_are_named_with_what_was_expected(key: str, value: Any) -> None:
    with pytest.raises(ArchiveError, match=f"Set handler.{key} in model-config.yaml to (a|one) .*; it is "):
        Settings.from_config({"handler": {key: value}})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("threads", 0),
        ("min_probability", 0),
        ("min_probability", 1),
        ("engine", "torch"),
        ("precision", "f32"),
        ("jpeg_decode", "scaled"),
    ],
)
def test_good_values(key: str, value: Any) -> None:
    assert getattr(Settings.from_config({"handler": {key: value}}), key) == value


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000\n", 8), ("200000 100000\n", 2), ("150000 100000", 2), ("1000 100000", 1), ("9900000 100000", 8)],
)
def test_a_container_has_as_many_cores_as_its_quota(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, cores: int
) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(settings, "CGROUP_CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert available_cores() == cores


def test_without_a_cgroup_the_affinity_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "CGROUP_CPU_MAX", tmp_path / "none")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert available_cores() == 3


def test_without_affinity_the_processors_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "CGROUP_CPU_MAX", tmp_path / "none")
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert available_cores() == 1


@pytest.mark.parametrize(
    ("threads", "config", "expected"),
    [
        (0, {}, Threads(batch=2, alone=8)),  # four workers
        (0, {"maxWorkers": 1}, Threads(batch=8, alone=8)),
        (0, {"maxWorkers": 2}, Threads(batch=4, alone=8)),
        (0, {"maxWorkers": 3}, Threads(batch=2, alone=8)),
        (0, {"maxWorkers": 20}, Threads(batch=1, alone=8)),
        (0, {"maxWorkers": 0}, Threads(batch=2, alone=8)),
        (5, {"maxWorkers": 2}, Threads(batch=5, alone=5)),
    ],
)
def test_workers_share_the_cores(
    monkeypatch: pytest.MonkeyPatch, threads: int, config: dict[str, Any], expected: Threads
) -> None:
    monkeypatch.setattr(settings, "available_cores", lambda: 8)
    assert threads_per_worker(Settings(threads=threads), config) == expected


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_a_worker_a_core_up_to_four(monkeypatch: pytest.MonkeyPatch, cores: int, workers: int) -> None:
    monkeypatch.setattr(settings, "available_cores", lambda: cores)
    assert default_workers() == workers
