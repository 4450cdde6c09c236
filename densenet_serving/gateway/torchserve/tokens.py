"""TorchServe's tokens, kept for a while and renewed before they expire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from densenet_serving.client.endpoint import Endpoint, Scope
from densenet_serving.gateway.torchserve.answer import Answer

# A token is renewed this long before it expires, and read from its file this often. The second is shorter, so that no
# token expires while it is kept.
MARGIN = timedelta(seconds=60)
HELD_SECONDS = 30


@dataclass(frozen=True)
class Held:
    token: str
    until: float


class AsyncTokenCache:
    """The tokens of one server. Safe to share between tasks: one of them renews, the others wait."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._held: dict[Scope, Held] = {}
        self._lock = asyncio.Lock()

    async def call(self, scope: Scope, ask: Callable[[str], Awaitable[Answer]]) -> Answer:
        """Call `ask` with a token, and once more with a new one if TorchServe refuses the first.

        Raises ServingError if the server has no token to give, and passes on what `ask` raises.
        """
        token = await self.get(scope)
        answer = await ask(token)
        if not answer.token_refused:
            return answer
        self.forget(scope, token)
        return await ask(await self.get(scope))

    async def get(self, scope: Scope) -> str:
        """Return a token that is valid for a while. Raises ServingError if the server has none to give."""
        if token := self._current(scope):
            return token
        async with self._lock:
            if token := self._current(scope):
                return token
            token = await asyncio.to_thread(self._endpoint.token, scope, MARGIN)
            self._held[scope] = Held(token, time.monotonic() + HELD_SECONDS)
            return token

    def forget(self, scope: Scope, token: str) -> None:
        """Drop a token that was refused: another program renewed it, or the server was restarted."""
        if (held := self._held.get(scope)) and held.token == token:
            del self._held[scope]

    def _current(self, scope: Scope) -> str | None:
        held = self._held.get(scope)
        return held.token if held and time.monotonic() < held.until else None
