"""Read class names in the forms that people keep them in: JSON of several kinds, or a line for each class."""

from __future__ import annotations

import ast
import codecs
import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from densenet_serving import paths
from densenet_serving.errors import CommandError, reason_of
from handler.card import Task

ClassNames = list[tuple[str, str]]  # (class id, class name), in the model's order
# Where training programs put the classes: torchvision's ImageFolder, PyTorch's tutorials, Hugging Face, OpenMMLab.
CLASS_KEYS = ("class_to_idx", "classes", "class_names", "idx_to_class", "id2label", "label_names", "CLASSES")
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # the mark of Windows programs
HELP = (
    'give a JSON file with {"0": "daisy", "1": "rose"}, {"0": ["n01", "daisy"]}, {"daisy": 0, "rose": 1} or '
    '["daisy", "rose"], or a text file with one name on each line'
)

SEPARATOR = r"(?:\s*[,;:=|\t)]\s*|\s*\.\s+|\s+-\s+|\s+)"
# The forms of a file's lines. A number is the place of its class, and its lines may have any order; the id is the
# class's own. Lines that have none of these forms are the names themselves.
LINES = tuple(
    re.compile(form)
    for form in (
        r"(?P<id>n\d{8})[\s,;:]+(?P<name>\S.*)",  # n01440764 tench
        rf"(?P<number>\d+){SEPARATOR}(?P<name>\S.*)",  # 0 daisy   0: daisy   0,daisy
        rf"(?P<name>.*\S){SEPARATOR}(?P<number>\d+)",  # daisy 0   daisy,0
        r"(?P<number>\d+)[._-](?P<name>\S.*)",  # 0_normal, as a folder may be called
    )
)
# The words that a table's first line is made of.
WORDS = r"index|idx|ids?|no|nr|num|number|names?|label|class|category"
HEADER = re.compile(rf"(?i)(class|label|category)?[ _-]?({WORDS})|labels|classes")


def find(labels: Path | None, checkpoint: Path, said: object, classes: int, task: Task) -> ClassNames:
    """Read the class names from a labels file, or else take what the checkpoint has `said`, or else ImageNet's.

    One output that tells two classes apart has two names; a multi-label model's may have one.
    Raises CommandError if they cannot be read, or are not as many as the checkpoint's classes.
    """
    source = labels or (checkpoint if said else paths.LABELS)
    try:
        names = parse(said) if source is checkpoint else read(source)
    except ValueError as error:
        raise CommandError(f"{source} does not name its classes well ({error}): name them with --labels.") from error
    if classes == 1 and task == "single-label" and len(names) != 2:
        raise CommandError(
            f"{source} names {len(names)} classes and the checkpoint tells 2 apart with its one output: give two, "
            "of which the second is that of a high output, or --task multi-label for one."
        )
    if len(names) != classes and (len(names), classes) != (2, 1):
        raise CommandError(
            f"{source} names {len(names)} classes and the checkpoint has {classes}: give its own labels with --labels."
        )
    return names


def read(path: Path) -> ClassNames:
    """Read a labels file. Raises CommandError if it is missing or has no form that is known."""
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(
            f"{path} cannot be read ({reason_of(error)}): name another labels file with --labels."
        ) from error
    is_json = path.suffix == ".json" or text.lstrip().startswith(("{", "["))
    try:
        if "\0" in text:
            raise ValueError("it has zero bytes, as UTF-16 has without its mark")
        return parse(_literal(text) if is_json else list(parse_lines(text)))
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path} does not name the classes ({error}): {HELP}.") from error


def parse(table: Any) -> ClassNames:
    """Put class names in the model's order.

    `table` lists classes, or maps each index to its class or each class to its index; it may lie under one of
    CLASS_KEYS, as in Hugging Face's config.json. A class is its name, which is then its id as well, or a pair of id and
    name. Raises ValueError if it is neither, or two classes have one id.
    """
    if isinstance(table, dict):
        table = next((table[key] for key in CLASS_KEYS if isinstance(table.get(key), dict | list)), table)
    if isinstance(table, dict):
        by_index = {str(index): name for name, index in table.items()} if _maps_to_indices(table) else table
        by_index = {str(key): value for key, value in by_index.items()}
        if missing := [str(i) for i in range(len(table)) if str(i) not in by_index]:
            raise ValueError(f"there is no class {missing[0]}")
        table = [by_index[str(i)] for i in range(len(table))]
    if not isinstance(table, list | tuple) or not table:
        raise ValueError("it is neither a list nor a mapping")
    names = [_pair(one) for one in table]
    class_id, times = Counter(class_id for class_id, _ in names).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{times} classes have the id {class_id!r}")
    return names


def parse_lines(text: str) -> Iterator[str | tuple[str, str]]:
    """Yield the names, or pairs of id and name, in the model's order.

    Raises ValueError where a number could be a place and could be part of a name: JSON has no such doubt.
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = _without_header([line for line in lines if line and not line.startswith("#")])
    for form in LINES:
        found = [match.groupdict() for match in map(form.fullmatch, lines) if match]
        if "id" in form.groupindex and found and len(found) == len(lines):
            yield from ((one["id"], _unquoted(one["name"])) for one in found)
            return
        by_number = {int(one["number"]): one["name"] for one in found if "number" in one}
        if found and len(found) == len(lines) and sorted(by_number) == list(range(len(lines))):
            # "grade 0", "grade 1" have one name left: there the number belongs to the name.
            if len(lines) == 1 or len(set(by_number.values())) > 1:
                yield from (_unquoted(by_number[place]) for place in sorted(by_number))
                return
            break
    _check_places(lines)
    yield from map(_unquoted, lines)


def render(names: ClassNames) -> str:
    """Return the text of index_to_name.json: `{"0": ["n01440764", "tench"], ...}`, one class on each line."""
    lines = (f"  {json.dumps(str(index))}: {json.dumps(list(pair))}" for index, pair in enumerate(names))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _check_places(lines: list[str]) -> None:
    """Raise ValueError for a line with a number that looks like the place of another.

    Lines of numbers alone may have any, but not those of all places in another order.
    """
    alone = [line.isdecimal() for line in lines]
    is_order = all(alone) and sorted(map(int, lines)) == list(range(len(lines)))
    for place, line in enumerate(lines):
        numbers = [int(one["number"]) for form in LINES[1:3] if (one := form.fullmatch(line))]
        numbers += [int(line)] if alone[place] and is_order else []
        if any(number != place and number <= len(lines) for number in numbers):
            raise ValueError(
                f"line {place + 1} is {line[:40]!r}, whose number is not its place, {place} counted from 0"
            )


def _literal(text: str) -> object:
    """Read JSON, or a literal of Python, as ImageNet's names are often passed on. Raises ValueError."""
    for read_literal in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError):
            return read_literal(text.strip())
    raise ValueError("it is no JSON")


def _maps_to_indices(table: dict[object, object]) -> bool:
    """Recognize the class_to_idx of torchvision's ImageFolder, also with its numbers as texts."""
    if all(isinstance(index, int) and not isinstance(index, bool) for index in table.values()):
        return True
    return all(isinstance(index, str) and index.isdecimal() for index in table.values()) and not all(
        str(name).isdecimal() for name in table
    )


def _pair(value: object) -> tuple[str, str]:
    match value:
        case str() if value:
            return value, value
        case [str() as class_id, str() as name] if class_id and name:
            return class_id, name
    raise ValueError(f"{str(value)[:40]!r} is neither a name nor a pair of id and name")


def _without_header(lines: list[str]) -> list[str]:
    """Leave out a first line that names columns. Raises ValueError if there are more than two."""
    columns = [_unquoted(column.strip()) for column in re.split(r"[,;\t]", lines[0])] if lines else [""]
    if not all(map(HEADER.fullmatch, columns)):
        return lines
    if len(columns) > 2:
        raise ValueError(f"it has {len(columns)} columns ({', '.join(columns)}), and a number and a name are two")
    return lines[1:]


def _unquoted(name: str) -> str:
    """Drop the quotes around a field of a CSV file."""
    return name[1:-1].replace('""', '"') if re.fullmatch(r'"(?:[^"]|"")*"', name) else name
