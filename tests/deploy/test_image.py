"""The image: read-only, with a user of its own, without capabilities. What it answers, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from densenet_serving import paths
from tests.deploy.containers import Container, podman, running

REQUESTS = 60
# Runs in the container: as many requests at once as it is told, a line for each answer as it comes.
LOAD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import requests
number = int(sys.argv[1])
photo = Path("docs/coffee.jpg").read_bytes()
def ask(_):
    try:
        answer = requests.post("http://127.0.0.1:8000/predict", files={"file": photo}, timeout=60)
        print(f"{answer.status_code} {answer.json().get('class_name')}\\n", end="", flush=True)
    except requests.RequestException as error:
        print(f"lost {error!r}\\n", end="", flush=True)
with ThreadPoolExecutor(number) as pool:
    list(pool.map(ask, range(number)))
"""


@pytest.fixture(scope="module")
def container(image: str) -> Iterator[Container]:
    with running(image) as container:
        container.wait_until_ready()
        yield container


def test_it_holds_no_compiler_and_no_installer(image: str) -> None:
    wanted = "gcc g++ cc make pip git curl"
    done = podman("run", "--rm", "--entrypoint=sh", image, "-c", f"command -v {wanted}")
    assert done.stdout == ""


def test_it_runs_with_a_user_of_its_own_and_no_rights(container: Container) -> None:
    container.check_its_rights()
    assert container.execute("id", "-g").stdout == "10001\n"
    assert container.execute("touch", "/opt/densenet/new").returncode != 0


def test_it_classifies_a_photo(container: Container) -> None:
    done = container.execute("densenet", "classify", "--run-dir", "/run/densenet", "docs/coffee.jpg")
    assert json.loads(done.stdout)["class_name"] == "espresso", done.stderr


def test_it_counts_its_workers_from_its_limits(container: Container) -> None:
    settings = container.execute("cat", "/run/densenet/config.properties").stdout
    assert "default_workers_per_model=2" in settings
    assert "-Xmx256m" in settings  # a sixteenth of 4 GiB


def test_only_the_gateway_and_the_metrics_leave_it(container: Container) -> None:
    settings = container.execute("cat", "/run/densenet/config.properties").stdout
    addresses = dict(line.split("=", 1) for line in settings.splitlines() if "_address=" in line)
    assert addresses.pop("metrics_address") == "http://0.0.0.0:8082"
    assert {address.removeprefix("http://").partition(":")[0] for address in addresses.values()} == {"127.0.0.1"}
    for address in (":8082/metrics", ":8000/readyz"):
        ask = f"import requests; print(requests.get('http://{container.address()}{address}', timeout=10).status_code)"
        assert container.execute("python", "-c", ask).stdout.strip() == "200"


def test_a_damaged_archive_is_not_built_in(image: str, stand_in_archive: Path) -> None:
    folder = paths.ROOT / "build" / "image" / "damaged"
    folder.mkdir(exist_ok=True)
    content = bytearray(stand_in_archive.read_bytes())
    content[len(content) // 2] ^= 1
    (folder / stand_in_archive.name).write_bytes(content)
    digest = stand_in_archive.with_name(f"{stand_in_archive.name}.sha256")
    (folder / digest.name).write_text(digest.read_text())
    options = ["--network=none", "--file=deploy/Containerfile", "--target=models"]
    arguments = ["--build-arg=BASE=localhost/densenet-base", "--build-arg=MODEL_STORE=build/image/damaged"]
    done = podman("build", *options, *arguments, ".", seconds=300)
    assert done.returncode != 0
    assert f"{stand_in_archive.name}: FAILED" in done.stdout + done.stderr


def test_stopped_under_load_it_loses_nothing(image: str) -> None:
    with running(image) as container:
        container.wait_until_ready()
        command = ["podman", "exec", "-i", container.id, "python", "-c", LOAD, str(REQUESTS)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
            killer = threading.Timer(120, load.kill)  # the loop below ends with the client
            killer.start()
            assert load.stdout
            answers = [load.stdout.readline()]
            podman("kill", "--signal=TERM", container.id)
            answers += load.stdout.readlines()
            killer.cancel()
        assert container.status() == 0, container.logs()
    assert answers == ["200 espresso\n"] * REQUESTS


def test_without_torchserve_it_ends_and_says_so(image: str) -> None:
    with running(image) as container:
        container.wait_until_ready()
        os.kill(container.pid_of("java"), signal.SIGKILL)
        assert container.status() == 1
        assert "TorchServe ended by itself" in container.logs()


def test_without_room_to_write_it_ends_and_says_so(image: str) -> None:
    with running(image, temporary="8m") as container:
        assert container.status() == 1
        assert "TMPDIR" in container.logs()


def test_without_memory_for_its_workers_it_ends_and_says_so(image: str) -> None:
    with running(image, memory="512m") as container:
        assert container.status() == 1
        assert "536 MB" in container.logs()
