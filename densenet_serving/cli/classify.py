"""Classify images through the running server."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from densenet_serving import paths
from densenet_serving.client import sources
from densenet_serving.client.served import Ask, find_server
from densenet_serving.console import err, json_line, note, out, plain, visible, warn
from densenet_serving.errors import ApiError, CommandError
from densenet_serving.options import Key, MinProbability, Model, RunDir, Token, TopK, Url
from densenet_serving.photo_files import LeftOut
from handler.answers import COLUMNS, Answer, Prediction

# More images than this get a progress bar; of files that are left out, so many are named.
FEW = 3
# A spreadsheet computes a cell that begins with one of these, unless an apostrophe precedes it, as csv.js does.
FORMULA = re.compile(r"[=+\-@\t\r]")
# The fields of a prediction, and those that every answer of this project's handler has.
PREDICTION = [column.name for column in COLUMNS[Prediction]]
REQUIRED = {column.name for column in COLUMNS[Answer] if not column.may_be_missing}

Row = dict[str, Any]


def classify(
    images: Annotated[list[str], typer.Argument(help="Files, folders, glob patterns, URLs, or - for standard input.")],
    top_k: TopK = None,
    min_probability: MinProbability = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line; the default in a pipe.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV, one row per prediction.")] = False,
    model: Model = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Requests at a time.")] = 8,
    url: Url = None,
    key: Key = None,
    token: Token = None,
    run_dir: RunDir = paths.RUN_DIR,
) -> None:
    """Print the class of every image. The exit status is 1 if any failed."""
    if as_json and as_csv:
        raise CommandError("--json and --csv exclude each other: choose one.")
    ask, _ = find_server(url, key, token, model, run_dir)
    names = find(images)
    parameters = {"top_k": top_k, "min_probability": min_probability}
    rows = with_progress(classify_all(ask, names, parameters, concurrency), len(names))

    write = write_csv if as_csv else write_json if as_json or not out.is_terminal else write_table
    if write(rows):
        raise typer.Exit(1)


def find(names: list[str]) -> list[str]:
    """List the images, and say which files of folders and patterns are left out."""
    left_out = LeftOut()
    found = list(sources.expand(names, left_out))
    if left_out.count:
        note(f"{left_out} Name a file itself to send it anyway.")
    return found


def classify_all(ask: Ask, names: list[str], parameters: dict[str, Any], concurrency: int) -> Iterator[Row]:
    """Send `concurrency` requests at a time. Yields a row for each image, in the given order, as it arrives."""

    def classify_one(name: str) -> Row:
        try:
            answer = ask("predictions", sources.read(name), parameters)
        except ApiError as error:
            return {"image": name, "error": error.error}
        except CommandError as error:
            return {"image": name, "error": {"message": str(error)}}
        return row_of(name, answer)

    with ThreadPoolExecutor(concurrency) as pool:
        yield from pool.map(classify_one, names)


def row_of(name: str, answer: Any) -> Row:
    """Return the row of an answer. Another project's handler may answer anything, which is kept whole."""
    is_ours = isinstance(answer, dict) and answer.keys() >= REQUIRED
    return {"image": name, **answer} if is_ours else {"image": name, "answer": answer}


def with_progress(rows: Iterator[Row], total: int) -> Iterator[Row]:
    if total <= FEW or not err.is_terminal:
        yield from rows
        return
    columns = (TextColumn("Classifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        yield from progress.track(rows, total=total)


def write_json(rows: Iterator[Row]) -> int:
    """Write one object per line. Returns the number of failed images, as every writer does."""
    failed = 0
    for row in rows:
        print(json_line(row), flush=True)
        failed += "error" in row
    return failed


def write_csv(rows: Iterator[Row]) -> int:
    """Write one line per prediction, best first; `rank` tells an image's apart if top_k is more than 1."""
    writer = csv.DictWriter(sys.stdout, ["image", "rank", *PREDICTION, "recognized", "error"])
    writer.writeheader()
    failed = 0
    for row in rows:
        failed += "error" in row
        for fields in csv_fields(row):
            writer.writerow({name: cell_of(value) for name, value in {"image": row["image"], **fields}.items()})
    return failed


def csv_fields(row: Row) -> Iterator[dict[str, Any]]:
    if "error" in row:
        yield {"error": row["error"]["message"]}
    elif "answer" in row:
        yield {"class_name": json_line(row["answer"])}
    else:
        recognized = {"recognized": str(row["recognized"]).lower()}
        for rank, found in enumerate(row.get("predictions") or [row], start=1):  # [] of a multi-label model: none
            yield {"rank": rank} | {name: found[name] for name in PREDICTION} | recognized


def cell_of(value: Any) -> Any:
    return "'" * bool(FORMULA.match(value)) + visible(value) if isinstance(value, str) else value


def write_table(rows: Iterator[Row]) -> int:
    """Write a table, whose columns fit all rows. After Ctrl-C it has the rows that are finished."""
    table = Table("Image", "Class", "Id", "Probability", box=None, header_style="bold")
    table.columns[3].justify = "right"
    failed = 0
    try:
        for row in rows:
            failed += "error" in row
            add_row(table, row)
    except KeyboardInterrupt:
        out.print(table)
        warn("Interrupted: the images that are not in the table were not classified.")
        raise
    out.print(table)
    return failed


def add_row(table: Table, row: Row) -> None:
    name = plain(row["image"])
    if "error" in row:
        table.add_row(name, f"[red]{plain(row['error']['message'])}[/]", "", "")
        return
    if "answer" in row:
        table.add_row(name, plain(json_line(row["answer"])), "", "")
        return
    if not row["recognized"]:
        table.add_row(name, "[yellow]not recognized[/]", "", f"{row['probability']:.1%}")
        name = ""
    for prediction in row.get("predictions", [row] if row["recognized"] else []):
        label = f"[green]{plain(prediction['class_name'].replace('_', ' '))}[/]"
        table.add_row(name, label, plain(prediction["class_id"]), f"{prediction['probability']:.1%}")
        name = ""
