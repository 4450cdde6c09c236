"""The contenders: how each is started and how it wants its photo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import service
from benchmarks.measure import Tree
from benchmarks.service import Form, Place, Running
from densenet_serving import paths
from densenet_serving.errors import CommandError
from densenet_serving.server.java import find_java

PACKAGE = "benchmarks.contenders"
# None of them may call home while it is measured.
QUIET = {"BENTOML_DO_NOT_TRACK": "True", "RAY_USAGE_STATS_ENABLED": "0", "LIT_DISABLE_TELEMETRY": "1"}
CEILING, CEILING_INT8 = "ceiling", "ceiling-int8"
OURS_INT8 = "ours-int8"
INT8 = (OURS_INT8, CEILING_INT8)
# Of each worker, where there is a worker a core. More, which is PyTorch's default, is far worse: idle OpenMP threads
# spin, so that whatever else runs (the server's own front, wrk) stalls them; LitServe and mosec answered 2 a second.
ONE_THREAD = {"THREADS": "1", "OMP_NUM_THREADS": "1"}
# By default mosec gives a request up after 3 s, which eager PyTorch on a small machine needs.
MOSEC = ("--port", "{port}", "--timeout", "60000")


@dataclass(frozen=True)
class Contender:
    """`package` is the distribution that must be in the peers' environment, or None for ours."""

    name: str
    title: str
    package: str | None
    start: Callable[[Place], Running]
    form: Form = "raw"
    field: str = ""


def module(
    name: str, path: str, *arguments: str, environment: dict[str, str] = ONE_THREAD
) -> Callable[[Place], Running]:
    """`python -m benchmarks.contenders.NAME`."""

    def start(place: Place) -> Running:
        command: list[str | Path] = [place.peers / "python", "-m", f"{PACKAGE}.{name}"]
        command += [argument.format(port=place.port) for argument in arguments]
        return service.launch(place, command, path, QUIET | environment)

    return start


def gunicorn(place: Place) -> Running:
    """https://flask.palletsprojects.com/en/stable/deploying/gunicorn/, one torch thread for each of two workers."""
    command: list[str | Path] = [place.peers / "gunicorn", "--workers", "2", "--bind", f"127.0.0.1:{place.port}"]
    return service.launch(place, [*command, f"{PACKAGE}.tutorial:app"], "/predict", {"OMP_NUM_THREADS": "1"})


def bentoml(name: str) -> Callable[[Place], Running]:
    def start(place: Place) -> Running:
        command: list[str | Path] = [place.peers / "bentoml", "serve", f"{PACKAGE}.{name}:Classifier"]
        command += ["--host", "127.0.0.1", "--port", str(place.port)]
        home = {"BENTOML_HOME": str(place.folder / "home")}
        return service.launch(place, command, "/classify", QUIET | home | ONE_THREAD)

    return start


def torchserve(best: bool) -> Callable[[Place], Running]:
    """TorchServe with its stock handler: nothing set but ports and open access, or the best for this machine."""

    def start(place: Place) -> Running:
        place.folder.mkdir(parents=True, exist_ok=True)
        config = place.folder / "config.properties"
        kinds = ("inference_address", "management_address", "metrics_address")
        lines = [f"{kind}=http://127.0.0.1:{place.port + i}" for i, kind in enumerate(kinds)]
        lines += [f"grpc_{kind}_port={place.port + 3 + i}" for i, kind in enumerate(("inference", "management"))]
        config.write_text("\n".join(lines) + "\n")
        store = place.material.stock_best_store if best else place.material.stock_store
        command: list[str | Path] = [place.peers / "torchserve", "--start", "--foreground", "--ncs"]
        command += ["--disable-token-auth", "--ts-config", config, "--model-store", store]
        environment = {
            "JAVA_HOME": str(find_java().parent.parent),
            "LOG_LOCATION": str(place.folder / "logs"),
            "METRICS_LOCATION": str(place.folder / "logs"),
            "TEMP": str(place.folder),
        } | ({"OMP_NUM_THREADS": "1"} if best else {})
        command += ["--models", "densenet121=densenet121.mar"]
        return service.launch(place, command, "/predictions/densenet121", environment)

    return start


def ours(place: Place) -> Running:
    return serve(place, place.material.model_store)


def ours_f32(place: Place) -> Running:
    return serve(place, place.material.f32_store)


def ours_int8(place: Place) -> Running:
    if place.material.int8 is None:
        raise CommandError("There is no int8 archive.")
    return serve(place, place.material.int8.model_store)


def serve(place: Place, store: Path) -> Running:
    """`densenet serve`, without its console: config.properties and model-config.yaml as they are in the repository."""
    from densenet_serving.build.archives import read_all
    from densenet_serving.server import torchserve

    folder = place.folder / "run"
    started = torchserve.start(folder, store, read_all(store), paths.SERVER_CONFIG, place.port)
    url = f"{started.endpoint.inference}/predictions/densenet121"

    def headers() -> dict[str, str]:
        return {"Authorization": f"Bearer {started.endpoint.token('inference')}"}

    return Running(Tree(started.pid), url, folder / "logs" / "model_log.log", started.stop, headers)


LINEUP = (
    Contender("ours", "ours", None, ours),
    Contender("ours-f32", "ours, f32", None, ours_f32),
    Contender(OURS_INT8, "ours, int8", None, ours_int8),
    Contender(
        "tutorial",
        "Flask tutorial, app.run()",
        "flask",
        module("tutorial", "/predict", environment={}),
        "multipart",
        "file",
    ),
    Contender("gunicorn", "Flask tutorial, gunicorn", "gunicorn", gunicorn, "multipart", "file"),
    Contender("torchserve", "TorchServe stock, defaults", "torchserve", torchserve(best=False)),
    Contender("torchserve-best", "TorchServe stock, tuned", "torchserve", torchserve(best=True)),
    Contender("litserve", "LitServe", "litserve", module("litserve_eager", "/predict"), "json", "image_data"),
    Contender(
        "litserve-engine",
        "LitServe, our engine",
        "litserve",
        module("litserve_engine", "/predict"),
        "json",
        "image_data",
    ),
    Contender("mosec", "mosec", "mosec", module("mosec_eager", "/inference", *MOSEC), "json", "image"),
    Contender("mosec-engine", "mosec, our engine", "mosec", module("mosec_engine", "/inference", *MOSEC)),
    Contender("bentoml", "BentoML", "bentoml", bentoml("bentoml_eager"), "multipart", "images"),
    Contender("bentoml-engine", "BentoML, our engine", "bentoml", bentoml("bentoml_engine"), "multipart", "images"),
    Contender("ray", "Ray Serve", "ray", module("ray_eager", "/")),
    Contender("ray-engine", "Ray Serve, our engine", "ray", module("ray_engine", "/")),
)
NAMES = (*(contender.name for contender in LINEUP), CEILING, CEILING_INT8)


def choose(names: str) -> list[str]:
    """Read the --contenders option: names with commas between them, or all. Raises CommandError."""
    chosen = [name.strip() for name in names.split(",")] if names != "all" else list(NAMES)
    if unknown := sorted(set(chosen) - set(NAMES)):
        raise CommandError(f"There is no contender {', '.join(unknown)}: choose from {', '.join(NAMES)}.")
    return [name for name in NAMES if name in chosen]
