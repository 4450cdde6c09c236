"""Run the tests: a pytest process for each folder, several side by side, and one line of totals.

A process for each folder: with gRPC, gevent (tritonclient), Playwright and torch in one, the interpreter has crashed.
What each printed lies in build/tests. The exit status is 0 if every test of every folder passed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from junitparser import JUnitXml
from rich.console import Console
from rich.markup import escape

from handler.cores import available_cores
from handler.settings import Precision

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "tests"
DOCUMENTS = "documents"  # the tests that lie in no folder
# They need more of a machine (network namespaces, Envoy, kubectl, podman), and only `make test-slow` runs them.
SLOW = ("hosts", "deploy")
# The longest first, so that no core idles in the end, but only one that waits for the archives; then all others.
LONGEST_FIRST = ("handler", "bulk", "lifecycle", "e2e", "densenet_serving", DOCUMENTS, "browser", "training", "fuzz")
# It measures a server under load: nothing may run beside it.
ALONE = ("faults",)
MOST_AT_ONCE = 4
NOT_PASSED = ("FAILED ", "ERROR ")
SKIPPED = re.compile(r"SKIPPED \[(\d+)\] \S+: (.+)")  # how many tests, where, why

console = Console(highlight=False, soft_wrap=True, emoji=False)


@dataclass(frozen=True)
class Suite:
    """The tests of one folder."""

    name: str
    paths: list[str]

    def file(self, suffix: str) -> Path:
        """Return one of the files that tell how it ended: .log, .xml (JUnit's), .cpu (seconds), .coverage."""
        return RESULTS / f"{self.name}{suffix}"


@dataclass(frozen=True)
class Result:
    """How a suite ended. Errors count as failures, and so does a process that ended without a report.

    `cpu_seconds` are those of all its processes, servers too.
    """

    suite: Suite
    status: int
    seconds: float
    cpu_seconds: float
    counts: Counter[str]  # of passed, failed, skipped

    @property
    def totals(self) -> str:
        shown = [word for word in ("passed", "failed", "skipped") if self.counts[word] or word != "skipped"]
        return ", ".join(f"{self.counts[word]} {word}" for word in shown)

    def lines(self) -> list[str]:
        return self.suite.file(".log").read_text().splitlines()


def main(
    folders: Annotated[list[str] | None, typer.Argument(help="Only these, as e2e or handler.")] = None,
    precision: Annotated[Precision | None, typer.Option(help="Of the archives that the tests build and serve.")] = None,
    # One more than there are cores: a server that starts leaves them idle.
    jobs: Annotated[int, typer.Option(min=1, help="Folders side by side.")] = min(available_cores() + 1, MOST_AT_ONCE),
    coverage: Annotated[bool, typer.Option("--coverage", help="Report the lines that no test ran; slower.")] = False,
    slow: Annotated[bool, typer.Option("--slow", help=f"Only {' and '.join(SLOW)}.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help=f"With --slow: {' and '.join(ALONE)} too, and each for as long as it says.")
    ] = False,
) -> None:
    """Run all tests that are not slow, the slow ones, or those of some folders."""
    begun = time.monotonic()
    suites = find_suites(folders or [], (SLOW + ALONE if full else SLOW) if slow else ())
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    results: list[Result] = []
    with console.status(f"Testing {len(suites)} folders") as status:
        for result in run_all(suites, options_of(precision, coverage, full), jobs):
            results.append(result)
            tell(result)
            left = [suite.name for suite in suites if suite not in [one.suite for one in results]]
            status.update(f"Testing, {len(left)} folders left: {', '.join(left)}")
    if coverage:
        report_coverage([result.suite for result in results])
    sys.exit(summarize(results, time.monotonic() - begun))


def options_of(precision: Precision | None, coverage: bool, full: bool) -> list[str]:
    """Return pytest's options; its cache is no use to several processes at once."""
    options = ["-p", "no:cacheprovider"]
    options += [f"--precision={precision}"] if precision else []
    options += ["--cov", "--cov-report="] if coverage else []
    return [*options, "--full"] if full else options


def find_suites(chosen: list[str], slow: tuple[str, ...]) -> list[Suite]:
    """Return the suites of the chosen folders, or of `slow`; by default of every folder that is not slow."""
    names = sorted(path.parent.name for path in ROOT.glob("tests/*/__init__.py"))
    suites = [Suite(name, [f"tests/{name}"]) for name in names]
    suites.append(Suite(DOCUMENTS, sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/test_*.py"))))
    if unknown := set(chosen) - {suite.name for suite in suites}:
        raise typer.BadParameter(f"There are no tests {', '.join(sorted(unknown))}: choose among {', '.join(names)}.")
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    suites.sort(key=lambda suite: places.get(suite.name, len(places)))
    wanted = chosen or slow or [suite.name for suite in suites if suite.name not in SLOW]
    return [suite for suite in suites if suite.name in wanted]


def run_all(suites: list[Suite], options: list[str], jobs: int) -> Iterator[Result]:
    """Yield each result as it comes; those that must be alone come last."""
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(run, suite, options) for suite in suites if suite.name not in ALONE]
        yield from (done.result() for done in as_completed(running))
    yield from (run(suite, options) for suite in suites if suite.name in ALONE)


def run(suite: Suite, options: list[str]) -> Result:
    # torch's threads wait for each other in a loop that takes a whole core, unless OpenMP is told that others need it.
    environment = os.environ | {"COVERAGE_FILE": str(suite.file(".coverage")), "OMP_WAIT_POLICY": "passive"}
    begun = time.monotonic()
    # A place of its own for tmp_path: what a folder cannot remove is no trouble of the others, nor of the next run.
    with suite.file(".log").open("w") as log, TemporaryDirectory(prefix="tests-", ignore_cleanup_errors=True) as place:
        places = [f"--basetemp={Path(place) / 'files'}", f"--junit-xml={suite.file('.xml')}"]
        pytest = [sys.executable, "-m", "pytest", *suite.paths, *options, *places]
        command = [sys.executable, str(Path(__file__).with_name("cpu.py")), str(suite.file(".cpu")), *pytest]
        done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    cpu = suite.file(".cpu")
    cpu_seconds = float(cpu.read_text()) if cpu.exists() else 0.0  # not if it was killed
    status = done.returncode or int(not suite.file(".xml").exists())
    return Result(suite, status, time.monotonic() - begun, cpu_seconds, counts_of(suite, status))


def counts_of(suite: Suite, status: int) -> Counter[str]:
    if not suite.file(".xml").exists():
        return Counter(failed=1)
    report = JUnitXml.fromfile(str(suite.file(".xml")))
    failed = report.failures + report.errors
    passed = report.tests - failed - report.skipped
    # A status without a failure: it ended after its last test, or ran none.
    return Counter(passed=passed, failed=failed or min(status, 1), skipped=report.skipped)


def tell(result: Result) -> None:
    """Say how a folder ended, and if not well, all that it printed."""
    colour = "red" if result.status else "green"
    times = f"{result.seconds:.0f} s, CPU {result.cpu_seconds:.0f} s"
    console.print(f"[{colour}]{result.suite.name:<12}[/] {result.totals}, {times}")
    if result.status:
        console.print(escape("\n".join(result.lines())))


def report_coverage(suites: list[Suite]) -> None:
    data = f"--data-file={RESULTS / '.coverage'}"
    for arguments in (["combine", "--quiet", data, *(suite.file(".coverage") for suite in suites)], ["report", data]):
        subprocess.run([sys.executable, "-m", "coverage", *arguments], cwd=ROOT, check=True)


def summarize(results: list[Result], seconds: float) -> int:
    """Name what failed, say why tests were skipped, then the totals on one line; returns the exit status."""
    reasons: Counter[str] = Counter()
    for result in results:
        failures = [line for line in result.lines() if line.startswith(NOT_PASSED)]
        if result.status and not failures:
            failures = [
                f"{result.suite.name} ended with status {result.status}: {result.suite.file('.log')} tells more."
            ]
        for line in failures:
            console.print(escape(line), style="red")
        for found in filter(None, map(SKIPPED.match, result.lines())):
            reasons[found[2]] += int(found[1])
    for reason, count in reasons.most_common():
        console.print(escape(f"{count} skipped: {reason}"))
    status = max((abs(result.status) for result in results), default=0)
    counts = sum((result.counts for result in results), Counter[str]())
    total = Result(Suite("all", []), status, seconds, sum(result.cpu_seconds for result in results), counts)
    console.print(f"{len(results)} folders in {total.seconds:.0f} s, CPU {total.cpu_seconds:.0f} s")
    print(total.totals)  # the last line, and nothing else on it: programs read it
    return min(total.status, 1)


if __name__ == "__main__":
    typer.run(main)
