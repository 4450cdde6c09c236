"""Start TorchServe in the background and return once it has classified a photo."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.status import Status

from scripts import archive, paths, properties
from scripts.archives import integrity
from scripts.archives.model_store import archives_in
from scripts.client.http import Client
from scripts.console import err, note, out, plain, run, warn
from scripts.errors import CommandError, NoWeights
from scripts.model import notice
from scripts.options import MODEL, STAND_IN, FixedModels, ModelStore, RunDir, Timeout
from scripts.server import exposure, torchserve
from scripts.server.java import find_java
from scripts.server.readiness import wait_until_ready
from scripts.server.upgrade import without_replaced
from scripts.stop import stop_gently

POLL_SECONDS = 0.5


def serve(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65531, help="First of five ports in a row, instead of those in config.properties."),
    ] = None,
    model_store: ModelStore = paths.MODEL_STORE,
    run_dir: RunDir = paths.RUN_DIR,
    config: Annotated[Path, typer.Option(help="TorchServe's settings.")] = paths.SERVER_CONFIG,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and stop the server on SIGTERM.")] = False,
    timeout: Timeout = 60,
    fixed_models: FixedModels = False,
    tls_cert: Annotated[Path | None, typer.Option(help="Serve https with this certificate (PEM, RSA).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's private key (PEM, PKCS #8).")] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Write each line of the logs as JSON.")] = False,
) -> None:
    """Start TorchServe on every archive of the model store, building one first where there is none."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # as Ctrl-C: nothing is left behind
    find_java()  # before an archive is built, which takes minutes
    build_missing_archive(model_store)
    archives = archives_to_serve(model_store, run_dir)
    warn_if_stale(archives)
    warn_if_unpinned(archives)

    changes = changes_of(fixed_models, tls_cert, tls_key) | (json_lines(config) if json_logs else {})
    running = torchserve.Server.find(run_dir)
    if running and foreground:
        raise CommandError(f"A server runs already (pid {running.pid}): end it with densenet stop first.")
    if running:
        note(f"Already running (pid {running.pid}).")
        if changes:
            warn("It keeps the settings it was started with: densenet stop, then serve again for others.")
        warn_if_not_loaded(Client(running.endpoint), archives)
        warn_if_exposed(running)
        report(running, *classify_sample(Client(running.endpoint)))
        return
    started = torchserve.start(run_dir, model_store, config, port, changes)
    try:
        with Status("Starting TorchServe", console=err) as status:
            wait_until_ready(started, archives, status.update)
        warn_if_exposed(started)
        report(started, *classify_sample(Client(started.endpoint)))
    except BaseException:  # a server that cannot answer is not left behind, nor one whose start was interrupted
        started.stop()
        raise
    if foreground:
        supervise(started, timeout)


def supervise(started: torchserve.Server, timeout: float) -> None:
    """Stay until SIGTERM or Ctrl-C and stop the server gently then; what a container or systemd needs.

    Raises CommandError where TorchServe ends by itself.
    """
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    while not asked.wait(POLL_SECONDS):
        if not started.process():
            started.stop()
            raise CommandError(f"TorchServe ended by itself: {relative(started.logs)} tells more.")
    stop_gently(started, timeout)


def changes_of(fixed_models: bool, certificate: Path | None, key: Path | None) -> dict[str, str]:
    """Say in TorchServe's settings what the options mean."""
    changes = {"enable_model_api": "false"} if fixed_models else {}
    files = {"certificate_file": certificate, "private_key_file": key}
    return changes | {name: str(path.absolute()) for name, path in files.items() if path}


def json_lines(config: Path) -> dict[str, str]:
    """Add to the JVM's arguments the one that chooses the other line of scripts/log4j2.xml."""
    given = properties.read(config).get("vmargs", "")
    return {"vmargs": f"{given} -Dlog.format=json".strip()}


def build_missing_archive(model_store: Path) -> None:
    """Build DenseNet-121's archive, or the stand-in's where no DenseNet weights can be had, saying so."""
    if archives_in(model_store):
        return
    try:
        archive.archive(MODEL, model_store=model_store)
    except NoWeights as reason:
        warn(
            f"{reason} Until then the stand-in EfficientNet-Lite0 answers, a smaller network with ImageNet weights of "
            f"its own, under its own name {STAND_IN}."
        )
        archive.archive(STAND_IN, model_store=model_store)


def archives_to_serve(model_store: Path, run_dir: Path) -> list[Path]:
    archives = archives_in(model_store)
    kept = without_replaced(archives, run_dir)
    for path in archives:
        if path not in kept:
            note(f"{path.name} is not loaded: an upgrade replaced it, and densenet models rollback goes back to it.")
    return kept


def warn_if_stale(archives: list[Path]) -> None:
    newest = max(path.stat().st_mtime for path in (*paths.handler_files(), paths.LABELS))
    stale = [path.name for path in archives if path.stat().st_mtime < newest]
    if stale:
        warn(f"{', '.join(stale)} is older than the handler or the labels here: densenet archive builds it anew.")


def warn_if_unpinned(archives: list[Path]) -> None:
    """An archive from elsewhere, or from before digests were written, is served all the same."""
    for path in archives:
        if not integrity.digest_file(path).exists():
            name = path.name
            warn(f"{name} is served unchecked: in {path.parent}, sha256sum {name} > {name}.sha256 pins it.")


def warn_if_not_loaded(client: Client, archives: list[Path]) -> None:
    loaded = set(client.models().values())
    for path in archives:
        if path.name not in loaded:
            warn(f"{path.name} is not loaded: densenet stop and densenet serve load it, or densenet models register.")


def warn_if_exposed(running: torchserve.Server) -> None:
    if said := exposure.warning(properties.read(running.settings)):
        warn(said)


def classify_sample(client: Client) -> tuple[str, dict[str, Any]]:
    """Classify the sample photo with DenseNet-121, or else the first model there is: proof that the road works."""
    names = list(client.models())
    if not names:
        raise CommandError("The server has no model: load one with densenet models register, or stop and serve again.")
    name = MODEL if MODEL in names else names[0]
    return name, client.predict(name, paths.SAMPLE_PHOTO.read_bytes())


def report(current: torchserve.Server, name: str, answer: dict[str, Any]) -> None:
    endpoint, folder = current.endpoint, current.endpoint.folder
    flag = "" if folder == paths.RUN_DIR else f" --run-dir {folder}"
    densenet = console_script()
    photo = relative(paths.SAMPLE_PHOTO)
    url = f"{endpoint.inference}/predictions/{name}"
    curl = f"curl --cacert {relative(Path(endpoint.certificate))}" if endpoint.certificate else "curl"
    rows = {
        "answer": f"{photo} is {answer['class_name'] or 'not recognized'} ({answer['probability']:.0%})",
        "predictions": url,
        "management": f"{endpoint.management}/models",
        "metrics": f"{endpoint.metrics}/metrics",
        "tokens": f"{relative(endpoint.key_file)}; {densenet} token{flag} prints a valid one",
        "logs": relative(current.logs),
        "try": f"{densenet} token --header{flag} | {curl} -H @- -T {photo} {url}",
        "stop": f"{densenet} stop{flag}",
    }
    if name == STAND_IN:
        rows["note"] = (
            f"the stand-in answers: DenseNet-121 has no weights here, {densenet} archive says how to add them"
        )
    elif said := notice.of_description(Client(endpoint).describe(name)):
        rows["note"] = said
    for key, value in rows.items():
        out.print(f"[bold]{key:<12}[/] {plain(value)}", highlight=False, soft_wrap=True)


def console_script() -> str:
    """Name the `densenet` command as the reader's shell finds it."""
    return "densenet" if shutil.which("densenet") else relative(Path(sys.executable).with_name("densenet"))


def relative(path: Path) -> str:
    """Shorten a path for a person who stands in the working directory."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    run(serve)
