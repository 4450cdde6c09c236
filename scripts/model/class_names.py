"""Read class names in the forms that people keep them in: JSON of several kinds, or a line for each class."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from handler.card import Task
from scripts import paths
from scripts.errors import CommandError

ClassNames = list[tuple[str, str]]  # (class id, class name), in the model's order
FORMS = (
    'give a JSON file with {"0": "daisy", "1": "rose"}, {"0": ["n01", "daisy"]}, {"daisy": 0, "rose": 1} or '
    '["daisy", "rose"], or a text file with one name on each line'
)


def read(path: Path) -> ClassNames:
    """Read a labels file. Raises CommandError if it is missing or has no form that is known."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise CommandError(f"There is no labels file {path}: name one with --labels.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{path} cannot be read ({error}): name another file with --labels.") from error
    is_json = path.suffix == ".json" or text.lstrip().startswith(("{", "["))
    try:
        return parse(json.loads(text) if is_json else [line.strip() for line in text.strip().splitlines()])
    except ValueError as error:
        raise CommandError(f"{path} does not name the classes ({error}): {FORMS}.") from error


def find(labels: Path | None, checkpoint: Path, classes: int, task: Task = "single-label") -> ClassNames:
    """Read the class names from a labels file, or else from the checkpoint, or else take ImageNet's.

    One output that tells two classes apart has two names; a multi-label model's may have one.
    Raises CommandError if they cannot be read, or are not as many as the checkpoint's classes.
    """
    from scripts.model.checkpoint import classes_in  # torch takes seconds to import

    said = None if labels else classes_in(checkpoint)
    source = checkpoint if said else labels or paths.LABELS
    try:
        names = parse(said) if said else read(source)
    except ValueError as error:
        raise CommandError(f"{source} does not name its classes well ({error}): name them with --labels.") from error
    if classes == 1 and (len(names) == 2 or task == "single-label"):
        classes = 2
    if len(names) != classes:
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


def _maps_to_indices(table: dict[object, object]) -> bool:
    """Recognize the class_to_idx of torchvision's ImageFolder."""
    return all(isinstance(index, int) and not isinstance(index, bool) for index in table.values())


def _pair(value: object) -> tuple[str, str]:
    match value:
        case str() if value:
            return value, value
        case [str() as class_id, str() as name] if class_id and name:
            return class_id, name
    raise ValueError(f"{str(value)[:40]!r} is neither a name nor a pair of id and name")
