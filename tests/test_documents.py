"""What documents name exists: files, headings, commands, tests. What they promise has a test; their numbers hold."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import torch
import typer

from densenet_serving import paths, properties
from densenet_serving.cli import main as cli
from handler.encodings import SIGNATURES
from handler.parameters import OVERLAY, TABLE, Parameter
from handler.settings import Settings

NOT_OURS = {"build", "shared"}
DOCUMENTS = sorted(
    path
    for path in paths.ROOT.rglob("*.md")
    if not any(part in NOT_OURS or part.startswith(".") for part in path.relative_to(paths.ROOT).parts)
)
every_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: path.relative_to(paths.ROOT).as_posix()
)
TEST_FILES = sorted(paths.ROOT.glob("tests/**/test_*.py"))
# Each of their tests is of a fault, and docs/reliability.md describes it.
FAULTS = (
    *("faults/test_*", "hosts/test_*", "lifecycle/test_start", "lifecycle/test_unit"),
    *("bulk/test_cluster", "bulk/test_command"),
)


def prose(path: Path) -> str:
    """The text without its blocks of code, in which brackets and number signs mean something else."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def links(path: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(path))


def code_of(text: str) -> list[str]:
    """Everything that is set as code: blocks, indented lines, and what stands between backticks."""
    return re.findall(r"^```.*?^```$|^ {4}[^\n]+$|`[^`\n]+`", text, re.MULTILINE | re.DOTALL)


def commands_of(command: Any) -> dict[str, Any]:
    """The commands below one of typer's, by name; a plain command has none."""
    return dict(getattr(command, "commands", {}))


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, named as GitHub names them."""
    seen: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        names.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names


@every_document
def test_a_link_leads_to_a_file_and_to_a_heading_in_it(document: Path) -> None:
    for link in links(document):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / unquote(name) if name else document
        assert target.exists(), f"{name} does not exist"
        assert not anchor or anchor in anchors(target), f"{target.name} has no heading for {link}"


def test_every_page_is_reached_from_the_index() -> None:
    pages = {path.name for path in (paths.ROOT / "docs").glob("*.md")} - {"README.md"}
    linked = {link.partition("#")[0] for link in links(paths.ROOT / "docs" / "README.md")}
    assert pages <= linked
    assert "docs/README.md" in links(paths.ROOT / "README.md")


def test_the_paths_that_contributing_names_exist() -> None:
    text = (paths.ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`([\w.-]+/[\w./-]*|[\w-]+\.(?:json|properties|toml|md|lock))`", text))
    assert len(named) > 50
    assert [path for path in sorted(named) if not (paths.ROOT / path).exists()] == []


@every_document
def test_the_commands_that_a_document_names_exist(document: Path) -> None:
    """The commands of densenet and their own, the targets of make, the modules that python runs."""
    code = "\n".join(code_of(document.read_text()))
    verbs = commands_of(typer.main.get_command(cli.app))
    for verb, own in re.findall(r"\bdensenet ([a-z]+)(?: ([a-z]+)\b)?", code):
        assert verb in verbs, f"{document} names densenet {verb}"
        assert not own or not commands_of(verbs[verb]) or own in commands_of(verbs[verb]), f"densenet {verb} {own}"
    for target in re.findall(r"\bmake ([a-z-]+)", code):
        assert f"\n{target}: " in (paths.ROOT / "Makefile").read_text(), f"{document} names make {target}"
    for module in re.findall(r"python -m ([a-z_.]*[a-z_])", code):
        assert find_spec(module), f"{document} names python -m {module}"


@cache
def defined_in(file: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", file.read_text(), re.MULTILINE))


def named_in(text: str) -> set[tuple[str, str]]:
    """Return the (module, test) of each `tests/folder/test_module.py::test_name` or `test_module::test_name`."""
    return {(path.removesuffix(".py"), name) for path, name in re.findall(r"((?:tests/)?[\w/.]+)::(test_\w+)", text)}


@every_document
def test_the_tests_that_a_document_names_exist(document: Path) -> None:
    def exists(module: str, name: str) -> bool:
        files = (file for file in TEST_FILES if str(file.with_suffix("")).endswith(f"/{module}"))
        return any(name in defined_in(file) for file in files)

    assert [named for named in sorted(named_in(document.read_text())) if not exists(*named)] == []


@pytest.mark.parametrize("name", ["reliability.md", "security.md"])
def test_every_promise_names_its_test(name: str) -> None:
    """In each table whose last column is the test."""
    text = (paths.ROOT / "docs" / name).read_text()
    tables = re.findall(r"^\|.*\| test \|\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE | re.IGNORECASE)
    rows = "".join(tables).splitlines()
    assert len(rows) > 30
    assert [row for row in rows if not named_in(row.split("|")[-2])] == []


def test_every_fault_that_is_tried_is_described() -> None:
    described = named_in((paths.ROOT / "docs" / "reliability.md").read_text())
    for file in TEST_FILES:
        if any(file.match(f"tests/{pattern}.py") for pattern in FAULTS):
            assert {(file.stem, name) for name in defined_in(file)} <= described, file


def test_security_names_the_settings_that_close_torchserve() -> None:
    text, server = (paths.ROOT / "docs" / "security.md").read_text(), properties.read(paths.SERVER_CONFIG)
    for setting in ("enable_model_api", "install_py_dep_per_model", "enable_envvars_config"):
        assert f"{setting}={server[setting]}" in text
    assert "token_expiration_min" in text
    assert len(SIGNATURES) == 8
    assert "eight formats" in text


def test_torch_is_newer_than_its_known_holes() -> None:
    """CVE-2025-32434 was closed in 2.6, CVE-2026-24747 in 2.10."""
    assert tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (2, 10)


def test_the_defaults_are_those_of_the_code() -> None:
    """Those of limits are tried in test_limits.py."""
    settings, api = Settings(), (paths.ROOT / "docs" / "api.md").read_text()
    assert f"| `top_k` | 1 or more | {settings.top_k} |" in api
    assert api.count(f"| `min_probability` | 0 to 1 | {settings.threshold(1000)} for ImageNet |") == 2
    [classes] = re.findall(r"^\| classes \| (.+) \|$", api, re.MULTILINE)
    thresholds = " | ".join(f"{settings.threshold(int(number)):g}" for number in classes.split(" | "))
    assert f"| recognized from | {thresholds} |" in api
    assert f"| `overlay` | 0 to 1 | {OVERLAY} |" in api


@pytest.mark.parametrize("one", TABLE, ids=lambda one: one.name)
def test_each_parameter_is_in_the_api(one: Parameter) -> None:
    """Once for each operation that takes it, with its range."""
    values = (
        "an id" if one.type is str else f"{one.least} or more" if one.most is None else f"{one.least} to {one.most}"
    )
    assert (paths.ROOT / "docs" / "api.md").read_text().count(f"| `{one.name}` | {values}") == 1 + one.predicts


def test_the_newest_version_is_the_packages() -> None:
    changes = (paths.ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[([\d.]+)\] - \d{4}-\d{2}-\d{2}$", changes, re.MULTILINE)
    [declared] = re.findall(r'^version = "(.+)"$', (paths.ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert versions[0] == declared
    assert versions == sorted(versions, key=lambda version: [int(part) for part in version.split(".")], reverse=True)
