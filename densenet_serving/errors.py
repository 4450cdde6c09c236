"""What is raised when something outside the program is wrong.

ServingError                  the gateway and the commands raise it; a command prints it as one sentence, exit status 1
└── CommandError              only commands and what they are made of raise it
    ├── DownloadError         the file could not be fetched, or is not the one that was meant
    ├── WeightsError          a checkpoint cannot be used
    │   ├── NotThere          a source has none; `auto` goes on to the next
    │   └── NoWeights         `auto` tried every source
    └── ApiError              the running server refused a request
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ServingError(Exception):
    """What happened and what to do, in one sentence for a person."""


class CommandError(ServingError):
    """What happened and what to do, for the person at the terminal; printed without a traceback."""


class DownloadError(CommandError):
    pass


class WeightsError(CommandError):
    pass


class NotThere(WeightsError):
    pass


class NoWeights(WeightsError):
    def __init__(self, tried: list[tuple[str, str]], advice: str) -> None:
        reasons = "; ".join(f"{where}: {why}" for where, why in tried)
        super().__init__(f"No DenseNet-121 weights were found. Tried {reasons}. {advice}")


class ApiError(CommandError):
    """`error` is TorchServe's own JSON object: {code, type, message}."""

    def __init__(self, message: str, error: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.error = dict(error)


def reason_of(error: Exception) -> str:
    """Return what an error of a library says, short enough for the brackets of a sentence: some go on for lines."""
    said = (error.strerror if isinstance(error, OSError) else None) or str(error)
    first = (said.strip() or type(error).__name__).splitlines()[0]
    return first.partition(". Detail")[0].rstrip(".")
