"""Choose the model that answers if a person names none."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from scripts.errors import CommandError
from scripts.options import MODEL


class ListsModels(Protocol):
    """A client, over HTTP or gRPC."""

    def models(self) -> Iterable[str]: ...


def default_model(client: ListsModels, has_management: bool) -> str:
    """Return densenet121 if it is served, or else the only model. Raises CommandError if there is a choice or none.

    A token passed by hand is an inference token, which may not list models (`has_management` is false): then the
    answer is densenet121.
    """
    if not has_management:
        return MODEL
    served = list(client.models())
    if MODEL in served:
        return MODEL
    if len(served) == 1:
        return served[0]
    raise CommandError(f"The server has {', '.join(served) or 'no model'}: choose one with --model.")
