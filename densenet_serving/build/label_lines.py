"""Read class names from lines of text: plain, or numbered in the forms that programs and tables write.

    daisy        0 daisy      0: daisy     daisy 0      index,name     n01440764 tench
    rose         1 rose       1: rose      rose 1       0,daisy        n01443537 goldfish

A number is the place of its class, and the lines may have any order. Where a number could be a place and could be part
of a name, the lines are refused: JSON has no such doubt.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

Name = str | list[str]

SEPARATOR = r"(?:\s*[,;:=|\t)]\s*|\s*\.\s+|\s+-\s+|\s+)"
FIRST = re.compile(rf"(?P<number>\d+){SEPARATOR}(?P<name>\S.*)")
LAST = re.compile(rf"(?P<name>.*\S){SEPARATOR}(?P<number>\d+)")
JOINED = re.compile(r"(?P<number>\d+)[._-](?P<name>\S.*)")  # a folder's name, such as 0_normal
ALONE = re.compile(r"(?P<number>\d+)(?P<name>)")
WORDNET = re.compile(r"(n\d{8})[\s,;:]+(\S.*)")
# The words that a table's first line is made of.
HEADER = re.compile(
    r"(?i)(?:(?:class|label|category)?[ _-]?(?:index|idx|id|ids|no|nr|num|number|name|names|label|class|category)"
    r"|class|label|labels|classes|category)"
)


def parse(text: str) -> list[Name]:
    """Return the names, or pairs of id and name, in the model's order. Raises ValueError if that is in doubt."""
    lines = [line.strip() for line in text.splitlines()]
    lines = _without_header([line for line in lines if line and not line.startswith("#")])
    pairs = [WORDNET.fullmatch(line) for line in lines]
    if lines and all(pairs):
        return [[pair[1], _unquoted(pair[2])] for pair in pairs if pair]
    for form in (FIRST, LAST, JOINED):
        numbered = [(int(one["number"]), one["name"]) for one in map(form.fullmatch, lines) if one]
        if sorted(number for number, _ in numbered) == list(range(len(lines))):
            return _by_number(numbered, lines)
    return list(map(_checked(lines), enumerate(lines)))


def _by_number(numbered: list[tuple[int, str]], lines: list[str]) -> list[Name]:
    """Order names by their numbers. "grade 0", "grade 1" have one name left: there the number belongs to the name."""
    if len(numbered) > 1 and len({name for _, name in numbered}) == 1:
        return list(map(_checked(lines), enumerate(lines)))
    return [_unquoted(name) for _, name in sorted(numbered)]


def _checked(lines: list[str]) -> Callable[[tuple[int, str]], str]:
    """Take lines as names, unless one has a number that looks like the place of another."""
    alone = [ALONE.fullmatch(line) for line in lines]
    is_order = all(alone) and sorted(int(line) for line in lines) == list(range(len(lines)))

    def take(numbered_line: tuple[int, str]) -> str:
        place, line = numbered_line
        for number in _numbers(line):
            if number != place and number <= len(lines) and (is_order or not alone[place]):
                raise ValueError(
                    f"line {place + 1} is {line[:40]!r}, whose number is not its place, {place} counted from 0"
                )
        return _unquoted(line)

    return take


def _numbers(line: str) -> Iterator[int]:
    """Yield the numbers of a line that could be the place of its class."""
    for form in (FIRST, LAST, ALONE):
        if found := form.fullmatch(line):
            yield int(found["number"])


def _without_header(lines: list[str]) -> list[str]:
    """Leave out a first line that names columns. Raises ValueError if there are more than two."""
    if not lines:
        return lines
    columns = [_unquoted(column.strip()) for column in re.split(r"[,;\t]", lines[0])]
    if not all(HEADER.fullmatch(column) for column in columns):
        return lines
    if len(columns) > 2:
        raise ValueError(f"it has {len(columns)} columns ({', '.join(columns)}), and a number and a name are two")
    return lines[1:]


def _unquoted(name: str) -> str:
    """Drop the quotes around a field of a CSV file."""
    return name[1:-1].replace('""', '"') if re.fullmatch(r'"(?:[^"]|"")*"', name) else name
