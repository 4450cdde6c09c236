"""What a start prints: the answer to the sample photo, addresses, commands that come next, and warnings."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from textwrap import shorten
from typing import Any

from densenet_serving import paths, properties
from densenet_serving.build.archives import BuildCommand, notice_of_description
from densenet_serving.client.http import Client
from densenet_serving.console import console_script, print_facts, relative, run_dir_flag, shell, warn
from densenet_serving.errors import ApiError, CommandError
from densenet_serving.files import digest_file
from densenet_serving.options import MODEL, STAND_IN
from densenet_serving.server.config import TAKES_PHOTOS, exposed_with_models
from densenet_serving.server.torchserve import Server

LONGEST_ANSWER = 200


def classify_sample(client: Client) -> tuple[str, Any]:
    """Classify the sample photo with DenseNet-121, or else with the first model; returns its name and its answer.

    Raises CommandError.
    """
    names = list(client.models())
    if not names:
        raise CommandError("The server has no model: load one with densenet models register, or stop and serve again.")
    name = MODEL if MODEL in names else names[0]
    return name, client.predict(name, paths.SAMPLE_PHOTO.read_bytes())


def report(running: Server, name: str, answer: Any) -> None:
    """Print the answer to the sample photo, the addresses, and the commands that come next."""
    endpoint = running.endpoint
    flag = run_dir_flag(endpoint.folder)
    densenet = console_script()
    photo = relative(paths.SAMPLE_PHOTO)
    url = f"{endpoint.inference}/predictions/{name}"
    trusted = ("--cacert", relative(Path(endpoint.certificate))) if endpoint.certificate else ()
    facts = {
        "answer": in_words(photo, answer),
        "predictions": url,
        "management": f"{endpoint.management}/models",
        "metrics": f"{endpoint.metrics}/metrics",
        "tokens": f"{relative(endpoint.key_file)}; {densenet} token{flag} prints a valid one",
        "logs": relative(running.logs),
        "try": f"{densenet} token --header{flag} | {shell('curl', *trusted, '-H', '@-', '-T', photo, url)}",
        "stop": f"{densenet} stop{flag}",
    }
    if said := notice_of(Client(endpoint), name):
        facts["note"] = said
    print_facts(facts)


def in_words(photo: str, answer: Any) -> str:
    """Say what a photo is; the answer of a handler that is not this project's is shown as it came."""
    match answer:
        case {"predictions": [_, *_] as several}:
            found = ", ".join(f"{one['class_name']} ({one['probability']:.0%})" for one in several)
            return f"{photo} is {found}"
        case {"class_name": name, "probability": float(probability)}:
            return f"{photo} is {name or 'not recognized'} ({probability:.0%})"
    return f"{photo}: {shorten(json.dumps(answer), LONGEST_ANSWER)}"


def notice_of(client: Client, name: str) -> str | None:
    """Return what a person should know of a model's weights, or why it has no card: it answers photos all the same."""
    if name == STAND_IN:
        return (
            f"the stand-in answers: DenseNet-121 has no weights here, {console_script()} archive says how to add them"
        )
    try:
        return notice_of_description(client.describe(name))
    except ApiError as error:
        return str(error)


def warn_of_archives(archives: Iterable[Path]) -> None:
    """Warn about archives built before the handler or the labels changed, and those without a digest."""
    newest = max(path.stat().st_mtime for path in (*paths.handler_files(), paths.LABELS))
    for path in archives:
        if path.stat().st_mtime < newest:
            again = BuildCommand.read(path) or (
                "densenet archive, with the --model, --weights, --labels and --version it was built with,"
            )
            warn(f"{path.name} is older than the handler or the labels here: {again} builds it again.")
        if not digest_file(path).exists():  # from elsewhere, or older than digests
            pin = f"{shell('sha256sum', path.name)} > {shell(digest_file(path).name)}"
            warn(f"{path.name} is served unchecked: in {path.parent}, {pin} pins it.")


def warn_if_not_loaded(client: Client, archives: Iterable[Path]) -> None:
    """Warn about archives of the model store that a running server has not loaded."""
    loaded = set(client.models().values())
    for path in archives:
        if path.name not in loaded:
            warn(f"{path.name} is not loaded: densenet stop and densenet serve load it, or densenet models register.")


def warn_if_exposed(running: Server) -> None:
    """Warn if other machines reach a server that takes models."""
    if exposed := exposed_with_models(properties.read(running.settings), TAKES_PHOTOS):
        warn(
            f"{exposed} is open to other machines while management tokens can register models: "
            "keep those tokens on this machine, or serve with --fixed-models."
        )


def warn_if_another_answers(run_dir: Path, built: Path, name: str, version: str) -> None:
    """Say what a running server answers with although `built` is there now, and what to type to change that."""
    running = Server.find(run_dir)
    if running is None:
        return
    try:
        loaded = [described["modelVersion"] for described in Client(running.endpoint).versions(name)]
    except CommandError as error:
        warn(f"The server that runs (pid {running.pid}) does not say which models it has ({error})")
        return
    store, flag = running.endpoint.model_store, run_dir_flag(run_dir)
    from_store = "" if store == paths.MODEL_STORE else f" --model-store {shell(store)}"
    remedy = f"type densenet stop{flag}, then densenet serve{flag}{from_store}"
    if built.resolve().parent != store.resolve():
        remedy = f"it loads models from {store}; build it there with --model-store"
    elif properties.read(running.settings).get("enable_model_api") == "true" and version not in loaded:
        remedy = f"type densenet models {'upgrade' if loaded else 'register'} {built.name}{flag}"
    answers = f"still answers with {name} {', '.join(loaded)}" if loaded else f"does not serve {name}"
    warn(f"The server that runs (pid {running.pid}) {answers}: {remedy}.")
