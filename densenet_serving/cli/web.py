"""Start TorchServe, and the gateway in front of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.status import Status

from densenet_serving import paths, properties
from densenet_serving.client.endpoint import is_loopback
from densenet_serving.client.http import Client
from densenet_serving.client.served import default_model
from densenet_serving.console import console_script, err, note, print_facts, relative, run_dir_flag, shell, warn
from densenet_serving.errors import ApiError, CommandError
from densenet_serving.gateway.keys import ApiKeys
from densenet_serving.gateway.settings import GatewaySettings
from densenet_serving.options import ServeOptions, takes
from densenet_serving.server import gateway
from densenet_serving.server.drain import supervise
from densenet_serving.server.gateway import Gateway
from densenet_serving.server.ports import check_port_is_free
from densenet_serving.server.run_folder import sole_command
from densenet_serving.server.start import start_or_find
from densenet_serving.server.torchserve import Server

NEEDED = ("fastapi", "fastapi_offline", "httptools", "httpx", "python_multipart", "uvicorn", "uvloop")


@takes(ServeOptions)
def web(
    options: ServeOptions,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The gateway's port.")] = 8000,
    host: Annotated[str, typer.Option(help="The address it listens on.")] = "127.0.0.1",
    torchserve_port: Annotated[
        int | None, typer.Option(min=1, max=65531, help="The first of TorchServe's five ports, as serve --port has it.")
    ] = None,
    model: Annotated[
        str, typer.Option(help="The model that answers.", show_default="densenet121 or the only one")
    ] = "",
    rate: Annotated[str, typer.Option(help="The rate of requests that each API key may make.")] = "600/minute",
    cors_origin: Annotated[
        list[str] | None, typer.Option(help="An origin whose pages may use the gateway; can be repeated.")
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="Another host name of the gateway; can be repeated.")
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(help="An address or network of a proxy, whose X-Forwarded-For names the client; can be repeated."),
    ] = None,
    decode_seconds: Annotated[
        float, typer.Option(min=1, help="How many seconds a minute decoding one client's images may take.")
    ] = 30,
    keys: Annotated[
        Path | None,
        typer.Option(help="A file of API keys, as densenet keys export prints it; followed when it changes."),
    ] = None,
    drain_delay: Annotated[
        float, typer.Option(min=0, help="Seconds to go on after the signal, while /readyz already answers 503.")
    ] = 0,
) -> None:
    """Start TorchServe as densenet serve does, then the gateway: POST /predict, /docs and the page."""
    check_installed()
    from densenet_serving.gateway.clients import network, read_rate
    from densenet_serving.gateway.connections import raise_file_limit
    from densenet_serving.gateway.sites import host_name

    read_rate(rate)
    raise_file_limit(GatewaySettings.max_connections)
    settings = GatewaySettings(
        options.run_dir.resolve(),
        model,
        host=host,
        port=port,
        keys=keys.absolute() if keys else None,  # not resolved: Kubernetes replaces the link's target
        foreground=options.foreground,
        json_logs=options.json_logs,
        rate=rate,
        cors_origins=tuple(cors_origin or ()),
        allowed_hosts=tuple(host_name(name) for name in allowed_host or ()),
        proxies=tuple(network(address) for address in proxy or ()),
        decode_seconds=decode_seconds,
    )
    ApiKeys(settings.run_dir, settings.keys).entries()  # a file that cannot be read starts nothing
    ours: Server | None = None
    try:
        with sole_command(settings.run_dir):
            running = running_gateway(settings)
            found = Server.find(settings.run_dir)
            server = start_or_find(replace(options, run_dir=settings.run_dir), torchserve_port)
            ours = None if found else server
            started = running or start_before(server, settings)
        if options.foreground:
            supervise(server, started, options.timeout, drain_delay)
    except BaseException:  # a signal too: no half of the two is left
        if ours:
            ours.stop()
        raise


def running_gateway(settings: GatewaySettings) -> Gateway | None:
    """Return the run folder's gateway. If there is none, raises CommandError if another could not listen."""
    running = Gateway.find(settings.run_dir)
    if not running:
        check_port_is_free("--port", settings.address)
    elif settings.foreground:
        raise CommandError(f"A gateway runs already (pid {running.pid}): end it with densenet stop first.")
    else:
        note(f"The gateway is already running (pid {running.pid}) at {running.url}: densenet stop ends it.")
    return running


def start_before(server: Server, settings: GatewaySettings) -> Gateway:
    """Start the gateway of a server, wait until it answers and report it. Raises CommandError."""
    client = Client(server.endpoint)
    settings = replace(settings, model=chosen_model(client, settings.model))
    settings = settings.within(properties.read(server.settings), card_of(client, settings.model))
    if not is_loopback(settings.host) and not ApiKeys(settings.run_dir, settings.keys).enforced:
        warn(f"Everybody who reaches {settings.host} may use the gateway: densenet keys add NAME asks for a key.")
    started = gateway.start(settings)
    try:
        with Status("Starting the gateway", console=err) as status:
            gateway.wait_until_ready(started, settings.run_dir, status.update)
    except BaseException:  # Ctrl-C too
        started.stop()
        raise
    report(started, settings.run_dir)
    return started


def check_installed() -> None:
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise CommandError(f"The gateway needs {', '.join(missing)}: run make web, or pip install -e '.[web]'.")


def chosen_model(client: Client, model: str) -> str:
    if model and model not in client.models():
        raise CommandError(f"The server has no model {model}: densenet models list shows the ones there are.")
    return model or default_model(client.models())


def card_of(client: Client, model: str) -> Mapping[str, Any]:
    """Return what a model says about itself; nothing for the archive of another project."""
    try:
        card = client.describe(model).get("customizedMetadata")
    except ApiError:
        return {}
    return card if isinstance(card, dict) else {}


def report(started: Gateway, run_dir: Path) -> None:
    facts = {
        "page": f"{started.url}/",
        "predict": f"{started.url}/predict",
        "docs": f"{started.url}/docs",
        "try": shell("curl", "-F", f"file=@{relative(paths.SAMPLE_PHOTO)}", f"{started.url}/predict"),
        "stop": f"{console_script()} stop{run_dir_flag(run_dir)}",
    }
    print_facts(facts)
