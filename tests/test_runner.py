"""`python -m tests` on a small tree of tests that pass, fail, crash and are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests import __main__ as runner

SKIPPED = "import pytest\n@pytest.mark.skip(reason='no GPU here')\ndef test_f(): pass\n"
TELLS_ITS_PLACE = "(tmp_path): print(tmp_path, file=open('places', 'a'))\n"
FOLDERS = {
    "good": f"def test_a{TELLS_ITS_PLACE}def test_b(): pass\n",
    "bad": f"{SKIPPED}def test_c(): assert 1 == 2\ndef test_d(): pass\n",
    "crash": "import os\ndef test_e(): os._exit(3)\n",
    "empty": "def helper(): pass\n",
    "faults": f"{SKIPPED}def test_g{TELLS_ITS_PLACE}",
}
CONFTEST = """
import pytest
def pytest_addoption(parser): parser.addoption("--full", action="store_true")
@pytest.fixture
def full(pytestconfig): return pytestconfig.getoption("full")
"""
SLOW = dict.fromkeys(runner.SLOW, "def test_i(full): assert full\n")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of tests as in this repository, and one test that lies in none."""
    for name, text in (FOLDERS | SLOW).items():
        folder = tmp_path / "tests" / name
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
        (folder / f"test_{name}.py").write_text(text)
    (tmp_path / "tests" / "test_readme.py").write_text("def test_h(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -rfEs\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # these tests need none, and each takes time to start
    monkeypatch.setattr(runner, "ROOT", tmp_path)
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "build" / "tests")
    return tmp_path


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(runner.main)
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.usefixtures("tree")
def test_every_folder_runs_whatever_the_others_do() -> None:
    done = run("--jobs", "2")

    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[-1] == "5 passed, 3 failed, 2 skipped"
    assert "FAILED tests/bad/test_bad.py::test_c - assert 1 == 2" in lines
    assert any(line.startswith("crash ended with status 3: ") for line in lines)
    assert any(line.startswith("empty ended with status 5: ") for line in lines)
    assert "2 skipped: no GPU here" in lines
    ended = [line.split()[0] for line in lines if line.endswith(" s") and "passed" in line]
    assert sorted(ended) == sorted([*FOLDERS, "documents"])
    assert ended[-1] == "faults"  # nothing ran beside it


def test_each_folder_has_a_place_of_its_own_that_is_gone_afterwards(tree: Path) -> None:
    run("good", "faults")

    places = [Path(line) for line in (tree / "places").read_text().splitlines()]
    assert len({place.parent for place in places}) == 2
    assert [place for place in places if place.parent.parent.exists()] == []


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    ("arguments", "status", "last"),
    [
        (["good", "documents"], 0, "3 passed, 0 failed"),
        (["--slow"], 1, "0 passed, 2 failed"),
        (["--slow", "--full"], 0, "3 passed, 0 failed, 1 skipped"),
    ],
)
def test_some_folders(arguments: list[str], status: int, last: str) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.output.splitlines()[-1]) == (status, last)


@pytest.mark.usefixtures("tree")
def test_a_folder_that_is_not_there() -> None:
    done = run("nobody")
    assert done.exit_code == 2
    assert "There are no tests nobody" in " ".join(done.output.replace("│", " ").split())
