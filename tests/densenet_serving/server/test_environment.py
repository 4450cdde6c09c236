from __future__ import annotations

import locale

import pytest

from densenet_serving.server import environment
from densenet_serving.server.environment import of_torchserve


@pytest.mark.parametrize("name", ["C", "xx_XX.UTF-8", None])
def test_torchserve_has_a_locale_in_which_every_path_has_a_name(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = locale.setlocale(locale.LC_ALL)
    monkeypatch.delenv("LC_ALL", raising=False)
    if name:
        monkeypatch.setenv("LC_ALL", name)
    assert of_torchserve()["LC_ALL"] == "C.UTF-8"
    assert locale.setlocale(locale.LC_ALL) == before


def test_a_machine_without_such_a_locale_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "UTF8_LOCALES", ("xx_XX.UTF-8",))
    monkeypatch.setenv("LC_ALL", "C")
    assert of_torchserve()["LC_ALL"] == "C"


def test_what_would_change_what_torchserve_runs_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONWARNINGS", "PYTHONIOENCODING", "TS_CONFIG_FILE"):
        monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    passed = of_torchserve()
    assert "foreign" not in passed.values()
    assert passed["OMP_NUM_THREADS"] == "1"
