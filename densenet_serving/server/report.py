"""Classify the sample photo with a running server, and print what a person needs next: addresses and commands."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import shorten
from typing import Any

from densenet_serving import paths
from densenet_serving.build import archives
from densenet_serving.client.http import Client
from densenet_serving.console import console_script, print_facts, relative, run_dir_flag, shell
from densenet_serving.errors import ApiError, CommandError
from densenet_serving.options import MODEL, STAND_IN
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
    curl = shell("curl", *trusted, "-H", "@-", "-T", photo, url)
    facts = {
        "answer": in_words(photo, answer),
        "predictions": url,
        "management": f"{endpoint.management}/models",
        "metrics": f"{endpoint.metrics}/metrics",
        "tokens": f"{relative(endpoint.key_file)}; {densenet} token{flag} prints a valid one",
        "logs": relative(running.logs),
        "try": f"{densenet} token --header{flag} | {curl}",
        "stop": f"{densenet} stop{flag}",
    }
    if name == STAND_IN:
        facts["note"] = (
            f"the stand-in answers: DenseNet-121 has no weights here, {densenet} archive says how to add them"
        )
    elif said := notice_of(Client(endpoint), name):
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
    """Return what its card says about a model's weights, or why it has no card: it answers photos all the same."""
    try:
        return archives.notice_of(client.describe(name))
    except ApiError as error:
        return str(error)
