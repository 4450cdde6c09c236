"""TorchServe started, managed and stopped as its own documentation does it: docs/management.md, with curl."""

from __future__ import annotations

import gzip
import ipaddress
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from densenet_serving import paths
from densenet_serving.build.archives import file_name
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.options import MODEL, STAND_IN
from densenet_serving.server.java import find_java
from tests.documents import blocks
from tests.e2e.support import Inference, as_version, listening_addresses, rewrite
from tests.pictures import SAMPLE_NAME
from tests.ports import free_port_range

SECOND = "2.0"
SECONDS = 120
PORTS = ("8080", "8081", "8082", "7070", "7071")
# So small a log is cut at least five times by so many lines of some 100 bytes.
LOG_KILOBYTES = 1
REFUSALS = 75
ONE_WORKER = "default_workers_per_model=1\n"  # the page asks for more


@pytest.fixture(scope="module")
def port() -> int:
    return free_port_range()


@pytest.fixture(scope="module")
def root(stand_in_archive: Path, port: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The part of the repository that the page needs, with ports of its own, small logs and two versions."""
    folder = tmp_path_factory.mktemp("by-hand")
    (folder / ".venv").symlink_to(Path(sys.prefix))
    config = (paths.ROOT / "config.properties").read_text()
    (folder / "config.properties").write_text(on_ports(f"{config}{ONE_WORKER}", port))
    for part in (paths.METRICS_CONFIG, paths.LOG_CONFIG, paths.SAMPLE_PHOTO):
        copy = folder / part.relative_to(paths.ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(part, copy)
    log_config = folder / paths.LOG_CONFIG.relative_to(paths.ROOT)
    log_config.write_text(log_config.read_text().replace("50 MB", f"{LOG_KILOBYTES} KB"))
    store = folder / "model_store"
    store.mkdir()
    shutil.copy(stand_in_archive, store)
    # It comes into the store once the server has loaded all others.
    (folder / "later").mkdir()
    rewrite(stand_in_archive, folder / "later" / file_name(STAND_IN, SECOND), as_version(SECOND))
    return folder


def on_ports(text: str, port: int) -> str:
    for i, usual in enumerate(PORTS):
        text = text.replace(usual, str(port + i))
    return text


@dataclass(frozen=True)
class Walk:
    """What the page's commands printed, block by block, and what else was seen of the server."""

    printed: list[str]
    listening: list[ipaddress.IPv4Address | ipaddress.IPv6Address]
    console_before: str
    survivors: list[psutil.Process]
    root: Path

    def answer(self, block: int) -> Any:
        return json.loads(self.printed[block])


@pytest.fixture(scope="module")
def walk(root: Path, port: int) -> Walk:
    temporary = Path(tempfile.mkdtemp(prefix="densenet-"))
    environment = os.environ | {
        "JAVA_HOME": str(find_java().parent.parent),
        "TMPDIR": str(temporary),
        "TEMP": str(temporary),
        "LOG_LOCATION": str(root / "logs"),
        "METRICS_LOCATION": str(root / "logs"),
    }
    environment.pop("PYTHONPATH", None)
    start, tokens, wait, *rest, stop = [
        on_ports(block, port).replace(f"MODEL={MODEL}", f"MODEL={STAND_IN}")
        for block in blocks("docs/management.md", "bash")
    ]
    family: list[psutil.Process] = []
    with Shell(root, environment) as shell:
        try:
            printed = [shell.run(f"{{ {start}}} >&2")]  # the server goes on writing there
            family.append(psutil.Process(int((temporary / ".model_server.pid").read_text())))
            printed += [shell.run(tokens), shell.run(wait)]
            family += family[0].children(recursive=True)
            listening = listening_addresses(family[0].pid)
            console_before = shell.console.read_text()
            inference, management, metrics = (f"http://127.0.0.1:{port + i}" for i in range(3))
            endpoint = Endpoint(inference, management, metrics, root)
            assert {Inference(endpoint)(b"").status_code for _ in range(REFUSALS)} == {400}
            for archive in (root / "later").iterdir():
                archive.rename(root / "model_store" / archive.name)
            printed += [shell.run(block) for block in rest]
            printed.append(shell.run(stop))
        finally:
            survivors = psutil.wait_procs(family, timeout=20)[1]
            for survivor in survivors:
                survivor.kill()
            shutil.rmtree(temporary)
    return Walk(printed, listening, console_before, survivors, root)


class Shell:
    """One bash for all blocks, since a block uses what an earlier one set."""

    END = "end-of-block"

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.console = root / "console.log"
        with self.console.open("w") as console:
            self._bash = subprocess.Popen(
                ["timeout", str(SECONDS), "bash", "-e"],
                cwd=root,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=console,
                text=True,
            )

    def run(self, block: str) -> str:
        """Run the commands of a block and return what they print."""
        assert self._bash.stdin
        assert self._bash.stdout
        self._bash.stdin.write(f"{{\n{block}\n}} </dev/null\necho; echo {self.END}\n")
        self._bash.stdin.flush()
        lines: list[str] = []
        for line in self._bash.stdout:
            if line.strip() == self.END:
                return "".join(lines).strip()
            lines.append(line)
        raise AssertionError(f"{block} failed: {''.join(lines)}{self.console.read_text()}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bash.communicate()


def test_every_block_does_what_the_page_says(walk: Walk) -> None:
    assert walk.answer(2)["class_name"] == SAMPLE_NAME
    assert walk.answer(3) == {"status": f'Model "{STAND_IN}" Version: {SECOND} registered with 1 initial workers'}
    [described] = walk.answer(4)
    assert described["modelVersion"] == SECOND
    assert [worker["status"] for worker in described["workers"]] == ["READY"]
    assert described["batchSize"] == 4  # the archive's own
    assert "Workers scaled to 2" in walk.answer(5)["status"]
    assert walk.answer(6)["class_name"] == f"second {SAMPLE_NAME}"  # under its own address
    assert "Default version successfully updated" in walk.answer(7)["status"]
    assert walk.answer(8)["class_name"] == f"second {SAMPLE_NAME}"
    assert walk.answer(9) == {"status": f'Model "{STAND_IN}" unregistered'}
    assert walk.answer(10)["models"] == [{"modelName": STAND_IN, "modelUrl": file_name(STAND_IN, SECOND)}]
    assert "TorchServe has stopped" in walk.printed[11]
    assert not walk.survivors


def test_every_port_is_of_this_machine_only(walk: Walk) -> None:
    assert len(walk.listening) >= len(PORTS)
    assert all(address.is_loopback for address in walk.listening), walk.listening


def test_logs_are_bounded(walk: Walk) -> None:
    """Those of many refusals were cut: a current file and three old ones are left of each, and fewer lines.

    The console does not grow.
    """
    for name in ("access_log", "model_log"):
        *old, current = sorted((walk.root / "logs").glob(f"{name}*"))
        assert [path.name for path in old] == [f"{name}.{i}.log.gz" for i in (1, 2, 3)]
        assert current.stat().st_size <= (LOG_KILOBYTES + 1) * 1024
        kept = sum(gzip.decompress(path.read_bytes()).count(b"\n") for path in old)
        assert kept + current.read_bytes().count(b"\n") < REFUSALS
    assert (walk.root / "console.log").read_text() == walk.console_before
