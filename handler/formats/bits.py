"""Read whole numbers from a few bytes, bit by bit."""

from __future__ import annotations

from handler.formats.picture import cut_short


class Bits:
    """Reads from a header, whose name the refusal tells if it ends early."""

    def __init__(self, data: bytes, header: str) -> None:
        self._value, self._left, self._header = int.from_bytes(data, "big"), 8 * len(data), header

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise cut_short(f"{self._header} that ends early")
        return self._value >> self._left & ((1 << count) - 1)

    def exp_golomb(self) -> int:
        """Read a number of variable length, ue(v) in ITU-T H.265, section 9.2."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)
