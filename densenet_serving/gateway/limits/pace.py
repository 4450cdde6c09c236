"""How fast one client sends a body or reads an answer."""

from __future__ import annotations

import time
from collections.abc import Callable

# A transfer counts as begun with so many bytes a second before, so that a new one is not called slow.
START_BYTES = 65_536


class Pace:
    """The bytes of one transfer since it began."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = clock()
        self.size = 0

    @property
    def rate(self) -> float:
        """Bytes a second; of a transfer that has stopped they fall from START_BYTES towards 0."""
        return (self.size + START_BYTES) / (self._clock() - self._begun + 1)

    def seconds_left(self, least_rate: float, grace: float) -> float:
        """Return how long the next byte may take at `least_rate` bytes a second, which count after `grace` seconds."""
        return self._begun + grace + self.size / least_rate - self._clock()

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._begun
