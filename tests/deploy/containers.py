"""The image of deploy/Containerfile as podman builds and runs it, on a base made by mmdebstrap: nothing is pulled."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from densenet_serving import paths
from tests.waiting import until

BUILD = paths.ROOT / "build" / "image"
WHEELS = BUILD / "cpu" / ".complete"
MODELS = BUILD / "models"
BASE = BUILD / "base.tar"
# What holds a pod's network and only waits. Podman's own needs the program catatonit, which few machines have.
PAUSE = "localhost/densenet-pause"
BASE_PACKAGES = "ca-certificates,libstdc++6,python3,python3-venv"
BUILD_SECONDS = 900
START_SECONDS = 180
STOP_SECONDS = 120
# As deploy/kubernetes has it, with volumes for the run folder and the temporary one alone.
RESTRICTED = (
    *("--read-only", "--user=10001:10001", "--cap-drop=all", "--security-opt=no-new-privileges"),
    *("--tmpfs=/run/densenet:rw,mode=1777,size=512m", "--cpus=2"),
)
# What an image is made of, beside the models.
SOURCES = ("deploy/Containerfile", ".dockerignore", "config.properties", "requirements.lock", "pyproject.toml")
FOLDERS = ("handler", "densenet_serving")


def podman(*arguments: str, seconds: float = 60, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    command = ["podman", *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=seconds, env=environment(), cwd=paths.ROOT
    )


def environment() -> dict[str, str]:
    """Podman asks for more descriptors and processes than a process without CAP_SYS_RESOURCE may give itself."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    processes = min(resource.getrlimit(resource.RLIMIT_NPROC)[1] % 2**63, pid_max())
    BUILD.mkdir(parents=True, exist_ok=True)
    settings = BUILD / "containers.conf"
    settings.write_text(
        f'[containers]\ndefault_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]\n'
        # Where both are installed, podman takes crun, which refuses machines with cgroups of v1 and v2.
        f'[engine]\nruntime = "runc"\ninfra_image = "{PAUSE}:latest"\n'
    )
    return os.environ | {"CONTAINERS_CONF": str(settings)}


def pid_max() -> int:
    return int(Path("/proc/sys/kernel/pid_max").read_text())


def skip_unless_possible() -> None:
    if missing := [program for program in ("podman", "runc", "mmdebstrap") if shutil.which(program) is None]:
        pytest.skip(f"{', '.join(missing)} not installed: apt-get install podman runc mmdebstrap")
    if os.geteuid() != 0:
        pytest.skip("mmdebstrap and the limits of a container need root here")
    if not WHEELS.exists():
        pytest.skip("there are no wheels in build/image: make test-slow FULL=1 collects them")


def build(archive: Path) -> str:
    """Return the name of the image with this archive; it is built when something that it is made of has changed."""
    with FileLock(BUILD / "lock"):
        tag = f"localhost/densenet-test:{digest(archive)}"
        if podman("image", "exists", tag).returncode == 0:
            return tag
        shutil.rmtree(MODELS, ignore_errors=True)
        MODELS.mkdir()
        for file in archive.parent.iterdir():
            shutil.copy2(file, MODELS)
        arguments = (f"BASE={base()}", f"MODEL_STORE={MODELS.relative_to(paths.ROOT)}")
        options = ["--network=none", "--file=deploy/Containerfile", f"--tag={tag}"]
        done = podman("build", *options, *(f"--build-arg={one}" for one in arguments), ".", seconds=BUILD_SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
        forget_others(tag)
        return tag


def forget_others(tag: str) -> None:
    """Remove the images of earlier states of the code: each holds more than a gigabyte."""
    listed = podman("images", "--format={{.Repository}}:{{.Tag}}", tag.partition(":")[0]).stdout.split()
    if old := [name for name in listed if name != tag]:
        podman("image", "rm", *old)


def digest(archive: Path) -> str:
    files = [paths.ROOT / name for name in SOURCES]
    files += [path for name in FOLDERS for path in (paths.ROOT / name).rglob("*") if "__pycache__" not in path.parts]
    content = hashlib.sha256()
    for file in (*sorted(path for path in files if path.is_file()), archive):
        content.update(hashlib.sha256(file.read_bytes()).digest())
    return content.hexdigest()[:16]


def base() -> str:
    """Return the name of an image of Debian with Python and nothing else."""
    if podman("image", "exists", "localhost/densenet-base").returncode != 0:
        without = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
        options = ["--variant=minbase", f"--include={BASE_PACKAGES}"]
        options += [f"--dpkgopt=path-exclude={path}" for path in without]
        command = ["mmdebstrap", *options, "bookworm", str(BASE)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS)
        if done.returncode:
            pytest.skip(f"mmdebstrap cannot make a base image here: {done.stderr[-500:]}")
        assert podman("import", str(BASE), "localhost/densenet-base").returncode == 0
    return "localhost/densenet-base"


def build_pause() -> None:
    content = f'FROM {base()}\nCMD ["sleep", "infinity"]\n'
    done = podman("build", f"--tag={PAUSE}", "--file=-", ".", stdin=content)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Container:
    id: str

    def inspect(self, form: str) -> str:
        return podman("inspect", "--format", form, self.id).stdout.strip()

    def address(self) -> str:
        """Its address in podman's network."""
        return self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")

    def execute(self, *command: str, seconds: float = 60, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return podman("exec", "-i", self.id, *command, seconds=seconds, stdin=stdin)

    def logs(self) -> str:
        done = podman("logs", self.id)
        return done.stdout + done.stderr

    def is_ready(self) -> bool:
        """The gateway reports its addresses last."""
        assert self.inspect("{{.State.Running}}") == "true", self.logs()
        return ":8000/predict" in self.logs()

    def wait_until_ready(self) -> None:
        until(self.is_ready, START_SECONDS, self.logs)

    def check_its_rights(self) -> None:
        """Check that its first process is the image's own user's, without capabilities and a way to get any."""
        lines = self.execute("cat", "/proc/1/status").stdout.splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert set(status["Uid"].split()) == {"10001"}
        assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {0}
        assert status["NoNewPrivs"] == "1"

    def status(self) -> int:
        """Wait for the end; returns the exit status."""
        return int(podman("wait", self.id, seconds=STOP_SECONDS).stdout)

    def pid_of(self, program: str) -> int:
        lines = podman("top", self.id, "hpid", "comm").stdout.splitlines()
        [pid] = [int(line.split()[0]) for line in lines if line.split()[1] == program]
        return pid


@contextmanager
def running(image: str, temporary: str = "1g", memory: str = "4g") -> Iterator[Container]:
    """Run the image as its command says, with so much room in its temporary folder and so much memory."""
    limits = (f"--memory={memory}", f"--tmpfs=/tmp:rw,mode=1777,size={temporary}")
    started = podman("run", "--detach", *RESTRICTED, *limits, image)
    assert started.returncode == 0, started.stderr
    container = Container(started.stdout.strip())
    try:
        yield container
    finally:
        podman("rm", "--force", "--time=0", container.id)
