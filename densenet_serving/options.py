"""Names and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

MODEL, STAND_IN = "densenet121", "efficientnet_lite0"
# What can be between the linear layers of a head: functions of torch.nn.functional.
Activation = Literal["relu", "gelu", "silu", "elu", "leaky_relu", "tanh", "sigmoid"]

RunDir = Annotated[Path, typer.Option(help="The server's own folder, for logs, tokens and state.")]
ModelStore = Annotated[Path, typer.Option(help="The folder of archives.")]
FixedModels = Annotated[
    bool, typer.Option("--fixed-models", help="Refuse to register or unregister models while the server runs.")
]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait for accepted requests.")]
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
