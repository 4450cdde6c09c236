"""Load from two generators of Debian: wrk for the closed loop, h2load for the open one.

Closed loop: so many clients, each sending its next request as soon as it has its answer.
Open loop: requests begin at a fixed rate, evenly spaced, whether earlier ones were answered or not.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.results import Figures, percentile
from densenet_serving.errors import CommandError

WRK_SCRIPT = Path(__file__).parent / "post.lua"
PACKAGES = {"wrk": "wrk", "h2load": "nghttp2-client"}
REQUEST_TIMEOUT = 30
# Connections of the open loop: each sends every CONNECTIONS / rate seconds, so that the loop stays open as long as
# no answer takes longer than that.
CONNECTIONS = 128
# A run that has not ended this long after its load has is given up.
GRACE_SECONDS = 45
GOOD = (200,)
# h2load 1.52 takes the status from the callback of llhttp that only a reason phrase triggers, and logs 0 for an answer
# "HTTP/1.1 200" without one, which TorchServe's stock handler gives. TorchServe's errors have a phrase.
GOOD_WITHOUT_PHRASE = (200, 0)


@dataclass(frozen=True)
class Target:
    """Where to send what. `body` is a file, complete with any multipart frame."""

    url: str
    body: Path
    headers: dict[str, str] = field(default_factory=dict)


def check_tools() -> None:
    """Raises CommandError with the command that installs what is missing."""
    missing = [package for tool, package in PACKAGES.items() if not shutil.which(tool)]
    if missing:
        raise CommandError(f"The load generators are missing: apt-get install {' '.join(missing)}.")


def closed(target: Target, clients: int, seconds: float) -> Figures:
    """Run wrk. Raises CommandError where it fails."""
    command = ["wrk", "--threads", "1", "--connections", str(clients), "--duration", f"{max(1, round(seconds))}s"]
    command += ["--timeout", f"{REQUEST_TIMEOUT}s", "--script", str(WRK_SCRIPT)]
    command += header_options("--header", target.headers)
    return parse_wrk(_run([*command, target.url, "--", str(target.body)], seconds))


def open_loop(target: Target, rate: float, seconds: float, log: Path, good: tuple[int, ...] = GOOD) -> Figures:
    """Run h2load at `rate` requests per second. Raises CommandError where it fails."""
    requests = max(1, round(rate * seconds))
    connections = min(CONNECTIONS, requests)
    requests -= requests % connections  # h2load gives each connection its share
    log.unlink(missing_ok=True)
    command = ["h2load", "--h1", "--clients", str(connections), "--requests", str(requests)]
    # One connection after another, a request's spacing apart: else all would send in step.
    command += ["--rate", "1", "--rate-period", f"{max(1, round(1000 / rate))}ms", "--rps", f"{rate / connections:.6f}"]
    command += ["--connection-active-timeout", f"{round(seconds + REQUEST_TIMEOUT)}s"]
    command += ["--data", str(target.body), "--log-file", str(log)]
    _run([*command, *header_options("--header", target.headers), target.url], seconds)
    return parse_h2load(log.read_text(), requests, good)


def header_options(option: str, headers: dict[str, str]) -> list[str]:
    return [part for name, value in headers.items() for part in (option, f"{name}: {value}")]


def parse_wrk(output: str) -> Figures:
    """Read the line that post.lua prints at the end. Times in it are microseconds."""
    line = next((line for line in output.splitlines() if line.startswith("RESULT ")), None)
    if line is None:
        raise CommandError(f"wrk printed no result: {output.strip()[-300:]}")
    result = json.loads(line.removeprefix("RESULT "))
    errors = sum(result["errors"].values())
    answered = result["requests"] - result["errors"]["status"]
    return Figures(
        requests=answered,
        seconds=result["duration"] / 1e6,
        errors=errors,
        p50_ms=result["p50"] / 1e3 if answered else None,
        p95_ms=result["p95"] / 1e3 if answered else None,
        p99_ms=result["p99"] / 1e3 if answered else None,
    )


def parse_h2load(log: str, expected: int, good: tuple[int, ...] = GOOD) -> Figures:
    """Read h2load's log: begin (us since the epoch), status, time to the end of the answer (us), a line a request.

    A request without a line never got an answer: it counts as an error, like every status that is not in `good`.
    """
    rows = [[int(column) for column in line.split("\t")[:3]] for line in log.splitlines() if line.strip()]
    answered = [row for row in rows if row[1] in good]
    times = sorted(row[2] / 1e3 for row in answered)
    begin, end = min((row[0] for row in rows), default=0), max((row[0] + row[2] for row in rows), default=0)
    return Figures(
        requests=len(answered),
        seconds=(end - begin) / 1e6,
        errors=expected - len(answered),
        p50_ms=percentile(times, 50),
        p95_ms=percentile(times, 95),
        p99_ms=percentile(times, 99),
    )


def host_of(url: str) -> str | None:
    return urlsplit(url).hostname


def _run(command: list[str], seconds: float) -> str:
    if host_of(next(part for part in command if part.startswith("http://"))) != "127.0.0.1":
        raise CommandError("Load goes to this machine alone.")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{command[0]} did not end in time: the contender hangs.") from error
    if done.returncode:
        raise CommandError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout
