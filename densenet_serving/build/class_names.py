"""Read class names in the forms that people keep them in: JSON of several kinds, or a line for each class."""

from __future__ import annotations

import ast
import codecs
import json
from collections import Counter
from pathlib import Path

from densenet_serving import paths
from densenet_serving.build import label_lines
from densenet_serving.errors import CommandError
from handler.card import Task

ClassNames = list[tuple[str, str]]  # (class id, class name), in the model's order
# Where training programs put the classes: torchvision's ImageFolder, PyTorch's tutorials, Hugging Face, OpenMMLab.
CLASS_KEYS = ("class_to_idx", "classes", "class_names", "idx_to_class", "id2label", "label_names", "CLASSES")
FORMS = (
    'give a JSON file with {"0": "daisy", "1": "rose"}, {"0": ["n01", "daisy"]}, {"daisy": 0, "rose": 1} or '
    '["daisy", "rose"], or a text file with one name on each line'
)


def read(path: Path) -> ClassNames:
    """Read a labels file. Raises CommandError if it is missing or has no form that is known."""
    try:
        text = _decode(path.read_bytes())
    except FileNotFoundError as error:
        raise CommandError(f"There is no labels file {path}: name one with --labels.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read ({error}): name another file with --labels.") from error
    is_json = path.suffix == ".json" or text.lstrip().startswith(("{", "["))
    try:
        return parse(_literal(text) if is_json else label_lines.parse(text))
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path} does not name the classes ({error}): {FORMS}.") from error


def find(labels: Path | None, checkpoint: Path, classes: int, task: Task = "single-label") -> ClassNames:
    """Read the class names from a labels file, or else from the checkpoint, or else take ImageNet's.

    One output that tells two classes apart has two names; a multi-label model's may have one.
    Raises CommandError if they cannot be read, or are not as many as the checkpoint's classes.
    """
    from densenet_serving.build.checkpoint import classes_in

    said = None if labels else classes_in(checkpoint)
    source = checkpoint if said else labels or paths.LABELS
    try:
        names = parse(said) if said else read(source)
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


def parse(table: object) -> ClassNames:
    """Put class names in the model's order.

    `table` lists classes, or maps each index to its class or each class to its index. A class is its name, which is
    then its id as well, or a pair of id and name. Raises ValueError if it is neither, or two classes have one id.
    """
    if isinstance(table, dict):
        table = _table_in(table)
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


def render(names: ClassNames) -> str:
    """Return the text of index_to_name.json: `{"0": ["n01440764", "tench"], ...}`, one class on each line."""
    lines = (f"  {json.dumps(str(index))}: {json.dumps(list(pair))}" for index, pair in enumerate(names))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _decode(content: bytes) -> str:
    """Decode UTF-8, or UTF-16 as Windows programs write it, with its mark. Raises UnicodeDecodeError."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    text = content.decode("utf-8-sig")
    if "\0" in text:
        raise UnicodeDecodeError("utf-8", content, content.index(0), content.index(0) + 1, "zero bytes, as of UTF-16")
    return text


def _literal(text: str) -> object:
    """Read JSON, or a literal of Python, as ImageNet's names are often passed on. Raises ValueError."""
    try:
        return json.loads(text)
    except ValueError as error:
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError):
            raise error from None


def _table_in(table: dict[object, object]) -> object:
    """Return the table under one of the keys that training programs have for it, as in Hugging Face's config.json."""
    return next((table[key] for key in CLASS_KEYS if isinstance(table.get(key), dict | list)), table)


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
