"""What the gateway adds to a request: one client, three roads to the same model that take turns in one run.

densenet web; python -m benchmarks.gateway

`form` and `body` go to TorchServe itself, as the tutorial's form field and as the bare photo, `gateway` is the form
sent to POST /predict. Prints a table, and JSON in a pipe.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from requests import Request
from rich.progress import track
from rich.table import Table

from benchmarks import machine
from benchmarks.load import host_of
from benchmarks.material import make_photo
from benchmarks.report import show
from benchmarks.results import MAIN_PHOTO, Spread, percentile, spread
from densenet_serving import paths
from densenet_serving.client.endpoint import Endpoint
from densenet_serving.client.http import Client
from densenet_serving.client.served import default_model
from densenet_serving.console import err, out, run
from densenet_serving.errors import CommandError
from densenet_serving.options import RunDir
from densenet_serving.server.gateway import Gateway

WARM_UP = 20
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Road:
    """Where a request goes; `send` returns its milliseconds."""

    connection: http.client.HTTPConnection
    path: str
    body: bytes
    headers: dict[str, str]

    def send(self) -> float:
        start = time.perf_counter()
        self.connection.request("POST", self.path, self.body, self.headers)
        response = self.connection.getresponse()
        content = response.read()
        elapsed = time.perf_counter() - start
        if response.status != http.client.OK:
            raise CommandError(f"{self.path} answered {response.status}: {content.decode(errors='replace')[:200]}")
        return elapsed * 1e3


@dataclass(frozen=True)
class Result:
    """Milliseconds; a spread is over the rounds' own percentiles. `adds` are differences of p50 in one round."""

    requests: int
    p50_ms: dict[str, Spread | None]
    p95_ms: dict[str, Spread | None]
    adds_to_form_ms: Spread | None
    adds_to_body_ms: Spread | None


def gateway(
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, each with percentiles of its own.")] = 5,
    requests: Annotated[int, typer.Option(min=1, help="Requests a road and round.")] = 100,
    size: Annotated[str, typer.Option(help="The photo's size.")] = MAIN_PHOTO,
    run_dir: RunDir = paths.RUN_DIR,
) -> None:
    """Measure TorchServe and the gateway in front of it, request by request in turn."""
    with tempfile.TemporaryDirectory() as folder, roads(run_dir.resolve(), make_photo(size, Path(folder))) as all_roads:
        for _ in range(WARM_UP):
            one_turn(all_roads)
        measured = [
            [one_turn(all_roads) for _ in range(requests)] for _ in track(range(rounds), "Measuring", console=err)
        ]
    result = summarize(measured)
    if not out.is_terminal:
        print(json.dumps({"machine": machine.describe(), "commit": machine.commit()} | asdict(result), indent=2))
        return
    out.print(table_of(result))


@contextmanager
def roads(run_dir: Path, photo: Path) -> Iterator[dict[str, Road]]:
    """Open a connection for each road. Raises CommandError where TorchServe or the gateway does not run."""
    running = Gateway.find(run_dir)
    if running is None:
        raise CommandError("The gateway does not run: start it with densenet web.")
    endpoint = Endpoint.find(run_dir)
    path = f"/predictions/{default_model(Client(endpoint).models())}"
    token = {"Authorization": f"Bearer {endpoint.token('inference')}"}
    form = Request("POST", running.url, files={"file": ("photo.jpg", photo.read_bytes())}).prepare()
    assert isinstance(form.body, bytes)  # noqa: S101 - a form with bytes is bytes
    kind = {"Content-Type": form.headers["Content-Type"]}
    with ExitStack() as stack:
        yield {
            "form": Road(connect(stack, endpoint.inference), path, form.body, kind | token),
            "body": Road(
                connect(stack, endpoint.inference), path, photo.read_bytes(), {"Content-Type": "image/jpeg"} | token
            ),
            "gateway": Road(connect(stack, running.url), "/predict", form.body, kind),
        }


def connect(stack: ExitStack, url: str) -> http.client.HTTPConnection:
    host, port = host_of(url), urlsplit(url).port
    if host != "127.0.0.1":
        raise CommandError("Load goes to this machine alone.")
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)
    stack.callback(connection.close)
    return connection


def one_turn(all_roads: dict[str, Road]) -> dict[str, float]:
    return {name: road.send() for name, road in all_roads.items()}


def summarize(measured: list[list[dict[str, float]]]) -> Result:
    """Take each round's percentiles, and of those the median and the extremes."""
    names = list(measured[0][0])
    p50, p95 = (
        {name: [percentile(sorted(turn[name] for turn in turns), percent) for turns in measured] for name in names}
        for percent in (50, 95)
    )
    adds = {
        name: spread([mine - direct for mine, direct in zip(known(p50["gateway"]), known(p50[name]), strict=True)])
        for name in ("form", "body")
    }
    return Result(
        requests=sum(map(len, measured)),
        p50_ms={name: spread(values) for name, values in p50.items()},
        p95_ms={name: spread(values) for name, values in p95.items()},
        adds_to_form_ms=adds["form"],
        adds_to_body_ms=adds["body"],
    )


def known(values: list[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def table_of(result: Result) -> Table:
    table = Table("Road", "p50, ms", "p95, ms", box=None, header_style="bold")
    for name, p50 in result.p50_ms.items():
        table.add_row(name, show(p50), show(result.p95_ms[name]))
    table.add_row("gateway adds to form", show(result.adds_to_form_ms), "")
    table.add_row("gateway adds to body", show(result.adds_to_body_ms), "")
    return table


if __name__ == "__main__":
    run(gateway)
