"""Use a server's tokens, and replace one that the server refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from densenet_serving.client.endpoint import Endpoint, Scope
from densenet_serving.errors import ApiError

Answer = TypeVar("Answer")

REFUSED_KEY = "InvalidKeyException"  # TorchServe's type of the error for a token that it does not accept


class TokenCache:
    """The token of each API of one server, read when it is first needed. Safe to share between threads.

    A token that was `given` by hand is used for both APIs and never replaced.
    """

    def __init__(self, endpoint: Endpoint, given: str | None = None) -> None:
        self._endpoint = endpoint
        self._given = given
        self._tokens: dict[Scope, str] = {}
        self._lock = threading.Lock()

    def call(self, scope: Scope, ask: Callable[[str], Answer]) -> Answer:
        """Call `ask` with a token, and once more with a new one if that is refused.

        A token ends early when another client has TorchServe make a new one. Raises what `ask` raises, which is an
        ApiError of the type REFUSED_KEY for a refused token.
        """
        token = self._token(scope)
        try:
            return ask(token)
        except ApiError as error:
            if self._given or error.error["type"] != REFUSED_KEY:
                raise
        return ask(self._token(scope, refused=token))

    def _token(self, scope: Scope, refused: str | None = None) -> str:
        if self._given:
            return self._given
        with self._lock:
            if self._tokens.get(scope) == refused:  # none was read yet, or no other thread has replaced the refused one
                self._tokens[scope] = self._endpoint.token(scope)
            return self._tokens[scope]


def refused_token(address: str) -> str:
    return f"{address} refused the token that was sent: densenet token prints one that it takes now."
