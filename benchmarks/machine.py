"""What the figures were measured on."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

from densenet_serving import paths
from densenet_serving.server.java import find_java
from handler.cores import available_cores

OUR_PACKAGES = ("torch", "openvino", "pillow", "numpy", "torchserve")
CPU_INFO = Path("/proc/cpuinfo")
OS_RELEASE = Path("/etc/os-release")
# Instructions that decide how fast a network runs on a CPU.
CPU_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def describe() -> dict[str, str]:
    text = CPU_INFO.read_text() if CPU_INFO.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = set((re.search(r"^flags\s*:\s*(.+)$", text, re.MULTILINE) or [""])[0].split())
    return {
        "cpu": model[1].strip() if model else platform.processor(),
        "cpu features": ", ".join(feature for feature in CPU_FEATURES if feature in flags),
        "cores": str(available_cores()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "os": f"{os_name()}, kernel {platform.release()}",
        "python": platform.python_version(),
        "java": java_version(),
        "wrk": first_line("wrk", "--version"),
        "h2load": first_line("h2load", "--version"),
    }


def our_versions() -> dict[str, str]:
    return {package: version(package) for package in OUR_PACKAGES}


def commit() -> str:
    """The commit, marked where tracked files differ from it."""
    return first_line("git", "-C", str(paths.ROOT), "describe", "--always", "--dirty", "--exclude", "*")


def os_name() -> str:
    text = OS_RELEASE.read_text() if OS_RELEASE.exists() else ""
    name = re.search(r'^PRETTY_NAME="(.+)"$', text, re.MULTILINE)
    return name[1] if name else platform.system()


def java_version() -> str:
    done = subprocess.run([find_java(), "-version"], capture_output=True, text=True)
    return done.stderr.splitlines()[0] if done.stderr else "unknown"


def first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        return "missing"
    lines = (done.stdout or done.stderr).splitlines()
    return re.sub(r"\s*Copyright.*", "", lines[0]).strip() if lines else "unknown"
