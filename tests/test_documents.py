"""Every link between the documents leads somewhere; the paths and commands that they name exist."""

from __future__ import annotations

import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import typer

from densenet_serving import paths, properties
from densenet_serving.cli import main as cli
from densenet_serving.gateway.settings import GatewaySettings
from handler.parameters import OVERLAY
from handler.settings import Settings

NOT_OURS = {"build", "shared"}
DOCUMENTS = sorted(
    path
    for path in paths.ROOT.rglob("*.md")
    if not any(part in NOT_OURS or part.startswith(".") for part in path.relative_to(paths.ROOT).parts)
)
CONTRIBUTING = (paths.ROOT / "CONTRIBUTING.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w.-]+/[\w./-]*|[\w-]+\.(?:json|properties|toml|md|lock))`", CONTRIBUTING)))


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


RELATIVE = [
    (path.relative_to(paths.ROOT).as_posix(), link)
    for path in DOCUMENTS
    for link in links(path)
    if not re.match(r"[a-z]+:", link)
]


@pytest.mark.parametrize(("document", "link"), RELATIVE)
def test_a_link_leads_to_a_file_and_to_a_heading_in_it(document: str, link: str) -> None:
    source = paths.ROOT / document
    name, _, anchor = link.partition("#")
    target = source.parent / unquote(name) if name else source
    assert target.exists(), f"{document} links to {name}, which does not exist"
    if anchor:
        assert anchor in anchors(target), f"{document} links to {link}, and {target.name} has no such heading"


def test_every_page_is_reached_from_the_index() -> None:
    pages = {path.name for path in (paths.ROOT / "docs").glob("*.md")} - {"README.md"}
    linked = {link.partition("#")[0] for link in links(paths.ROOT / "docs" / "README.md")}
    assert pages <= linked
    assert "docs/README.md" in links(paths.ROOT / "README.md")


def test_contributing_says_what_to_open_for_many_changes() -> None:
    assert len(re.findall(r"^\| ", CONTRIBUTING, re.MULTILINE)) > 20


@pytest.mark.parametrize("path", NAMED)
def test_a_path_that_contributing_names_exists(path: str) -> None:
    assert (paths.ROOT / path).exists()


@pytest.mark.parametrize("document", [path.relative_to(paths.ROOT).as_posix() for path in DOCUMENTS])
def test_the_commands_that_a_document_names_exist(document: str) -> None:
    """The commands of densenet and their own, the targets of make, the modules that python runs."""
    code = "\n".join(code_of((paths.ROOT / document).read_text()))
    verbs = commands_of(typer.main.get_command(cli.app))
    for verb, own in re.findall(r"\bdensenet ([a-z]+)(?: ([a-z]+)\b)?", code):
        assert verb in verbs, f"{document} names densenet {verb}"
        assert not own or not commands_of(verbs[verb]) or own in commands_of(verbs[verb]), f"densenet {verb} {own}"
    for target in re.findall(r"\bmake ([a-z-]+)", code):
        assert f"\n{target}: " in (paths.ROOT / "Makefile").read_text(), f"{document} names make {target}"
    for module in re.findall(r"python -m ([a-z_.]*[a-z_])", code):
        assert find_spec(module), f"{document} names python -m {module}"


@pytest.mark.parametrize("document", ["api.md", "configuration.md"])
def test_the_limits_are_those_of_the_code(document: str) -> None:
    text = (paths.ROOT / "docs" / document).read_text()
    settings, server = Settings(), properties.read(paths.SERVER_CONFIG)
    assert f"{settings.max_image_bytes // 10**6} MB" in text
    assert f"{settings.max_image_pixels // 10**6} megapixels" in text
    assert f"{settings.max_request_pixels // 10**6} megapixels" in text
    assert f"{settings.max_images} photos" in text
    assert f"{int(server['max_request_size']) >> 20} MiB" in text


def test_the_defaults_are_those_of_the_code() -> None:
    settings, server = Settings(), properties.read(paths.SERVER_CONFIG)
    api, configuration = ((paths.ROOT / "docs" / name).read_text() for name in ("api.md", "configuration.md"))
    assert f"| `top_k` | 1 or more | {settings.top_k} |" in api
    assert api.count(f"| `min_probability` | 0 to 1 | {settings.threshold(1000)} for ImageNet |") == 2
    [classes] = re.findall(r"^\| classes \| (.+) \|$", api, re.MULTILINE)
    thresholds = " | ".join(f"{settings.threshold(int(number)):g}" for number in classes.split(" | "))
    assert f"| recognized from | {thresholds} |" in api
    assert f"| `overlay` | 0 to 1 | {OVERLAY} |" in api
    assert f"| requests that wait for a worker | {server['job_queue_size']} |" in configuration
    assert f"| memory a worker may grow by | {settings.memory_headroom // 10**9} GB |" in configuration
    assert f"| lifetime of a token | {server['token_expiration_min']} minutes |" in configuration
    rate = GatewaySettings(paths.RUN_DIR, "").rate.replace("/", " a ")
    assert f"| requests of an API key | {rate} |" in configuration


def test_the_newest_version_is_the_packages() -> None:
    changes = (paths.ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[([\d.]+)\] - \d{4}-\d{2}-\d{2}$", changes, re.MULTILINE)
    [declared] = re.findall(r'^version = "(.+)"$', (paths.ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert versions[0] == declared
    assert versions == sorted(versions, key=lambda version: [int(part) for part in version.split(".")], reverse=True)
