"""Choose the model that answers if a person names none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from densenet_serving.errors import ApiError, CommandError
from densenet_serving.options import MODEL

NOT_SERVED = "ModelNotFoundException"  # TorchServe's type of the error for a model that it does not have
CHOOSE = "Choose one that the server has with --model: densenet models list, on its machine, names them."


class ListsModels(Protocol):
    """A client of one server."""

    def models(self) -> Iterable[str]: ...


def default_model(client: ListsModels, has_management: bool) -> str:
    """Return densenet121 if it is served, or else the only model. Raises CommandError if there is a choice or none.

    A token passed by hand is an inference token, which may not list models (`has_management` is false): then the
    answer is densenet121, and `advice_if_not_served` says what to do if that is not there.
    """
    if not has_management:
        return MODEL
    served = list(client.models())
    if MODEL in served:
        return MODEL
    if len(served) == 1:
        return served[0]
    raise CommandError(f"The server has {', '.join(served) or 'no model'}: choose one with --model.")


@contextmanager
def advice_if_not_served() -> Iterator[None]:
    """Add to the server's error for a model that it does not have how to choose another. Raises ApiError."""
    try:
        yield
    except ApiError as error:
        if error.error["type"] != NOT_SERVED:
            raise
        message = f"{error}. {CHOOSE}"
        raise ApiError(message, error.error | {"message": message}) from error
