"""Names and options that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from densenet_serving import paths, properties
from handler.parameters import PARAMETERS

MODEL, STAND_IN = "densenet121", "efficientnet_lite0"
# What can be between the linear layers of a head: functions of torch.nn.functional.
Activation = Literal["relu", "gelu", "silu", "elu", "leaky_relu", "tanh", "sigmoid"]


def parameter(name: str, **more: Any) -> Any:
    """Make the option of a request's parameter."""
    one = PARAMETERS[name]
    bounds: dict[str, Any] = {} if one.type is str else {"min": one.least, "max": one.most}
    return typer.Option(help=one.help, **bounds, **more)


TopK = Annotated[int | None, parameter("top_k")]
MinProbability = Annotated[float | None, parameter("min_probability")]
ClassId = Annotated[str | None, parameter("class_id", show_default="the best one")]
Overlay = Annotated[float | None, parameter("overlay")]
RunDir = Annotated[Path, typer.Option(help="The server's own folder, for logs, tokens and state.")]
ModelStore = Annotated[Path, typer.Option(help="The folder of archives.")]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait for accepted requests.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON; the default in a pipe.")]
Model = Annotated[str | None, typer.Option(help="The served model.", show_default="densenet121 or the only one")]
# Secrets and the address come from variables too: other users of the machine can read a command's arguments.
Url = Annotated[
    str | None,
    typer.Option(
        envvar="DENSENET_URL", help="A gateway elsewhere, or with --token a TorchServe: no run folder is read."
    ),
]
Key = Annotated[str | None, typer.Option(envvar="DENSENET_KEY", help="The API key for the gateway at --url.")]
Token = Annotated[
    str | None,
    typer.Option(envvar="DENSENET_TOKEN", help="An inference token, for --url or if the run folder has none."),
]


@dataclass(frozen=True)
class ServeOptions:
    """How TorchServe is started: the options that `serve` and `web` share."""

    model_store: ModelStore = paths.MODEL_STORE
    run_dir: RunDir = paths.RUN_DIR
    config: Annotated[Path, typer.Option(help="TorchServe's settings.")] = paths.SERVER_CONFIG
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, and stop it on SIGTERM or SIGHUP.")] = False
    timeout: Timeout = 60
    fixed_models: Annotated[
        bool, typer.Option("--fixed-models", help="Refuse to register or unregister models while the server runs.")
    ] = False
    tls_cert: Annotated[Path | None, typer.Option(help="TorchServe serves https with this (PEM, RSA).")] = None
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's private key (PEM, PKCS #8).")] = None
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Write each line of the logs as JSON.")] = False

    def changes(self) -> dict[str, str]:
        """Return the settings of TorchServe that these options change. Raises CommandError."""
        changes = {"enable_model_api": "false"} if self.fixed_models else {}
        files = {"certificate_file": self.tls_cert, "private_key_file": self.tls_key}
        changes |= {name: str(path.absolute()) for name, path in files.items() if path}
        if self.json_logs:  # densenet_serving/server/log4j2.xml asks for this property
            changes["vmargs"] = f"{properties.read(self.config).get('vmargs', '')} -Dlog.format=json".strip()
        return changes


def takes(record: type[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Have a command take the fields of a dataclass as options beside its own; its first argument is the dataclass.

    Typer reads the options of a command from its signature. Each field has a default and is annotated as an option is.
    """
    hints = get_type_hints(record, include_extras=True)
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(record)
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_options(**given: Any) -> None:
            named = {one.name: given.pop(one.name) for one in shared if one.name in given}
            command(record(**named), **given)

        _, *own = inspect.signature(command, eval_str=True).parameters.values()
        parameters = [*(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own), *shared]
        with_options.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        with_options.__annotations__ = {one.name: one.annotation for one in parameters}
        return with_options

    return decorate
