"""The report's folder: settings, and a line of results for each picture, which outlives an interrupt."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

from sise_rt.bulk import journal
from sise_rt.bulk.settings import in_json, keep, kept
from sise_rt.errors import OutputError
from sise_rt.files import make_folder, write_whole
from sise_rt.wording import printable

ROWS, SETTINGS, TABLE = "rows.jsonl", "settings.json", "results.csv"
SUMMARY, PAGE = "summary.json", "report.html"
CURVE_POINTS = 51  # of a curve that is kept, at evenly spaced shares from 0 to 1
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""How a cell begins that a spreadsheet may run; the last four are wide forms of the first."""

Number = int | float
Curve = Annotated[list[Number], msgspec.Meta(min_length=CURVE_POINTS, max_length=CURVE_POINTS)]
Row = TypedDict(
    "Row",
    {
        "class": str | None,
        "target": int,
        "label": str,
        "method": str,
        "annotated": bool,
        "predicted": bool,
        "difficult": bool,
        "confidence": Number,
        "truth_area": Number | None,
        "kept": Number | None,
        "passes": Number | None,
        "seconds": Number | None,
        "metrics": dict[str, Number | None],
        "curves": dict[str, Curve],
        "note": str | None,
    },
)
"""A class of a picture and a method, as `measure` makes it."""
COLUMNS = ("image", *(name for name in Row.__annotations__ if name not in ("metrics", "curves", "note")))


class Record(TypedDict):
    """A picture: a line of rows.jsonl."""

    image: str
    right: NotRequired[bool | None]
    rows: list[Row]
    problems: list[tuple[str, str, str]]


class Measured(Record):
    """A record that says what was measured, and of what; one that does not is measured again."""

    fingerprint: str
    methods: list[str]
    metrics: list[str]
    maps: NotRequired[dict[str, str]]


def open_report(folder: Path, settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Start or go on with the evaluation in a folder.

    Args:
        folder: is made if missing.
        settings: all that the numbers depend on, ready for JSON. Those of an evaluation that has no picture
            yet are replaced.

    Returns:
        The records of the pictures that are done.

    Raises:
        OutputError: the folder cannot be used, holds an evaluation with other settings, or is damaged.
        ArgumentError: a setting is not finite.
    """
    path, rows = folder / SETTINGS, folder / ROWS
    content = in_json(settings)
    make_folder(folder, settings=("report",))
    before = kept(path)
    if before is None:
        _refuse_foreign(folder)
    keep(path, content, before, started=rows.exists(), what="an evaluation", setting="report")
    records, whole = {}, 0
    for end, record in journal.read(rows, _record):
        records[record["image"]] = record  # of several the last one has most
        whole = end
    journal.cut(rows, whole)
    return records


def _refuse_foreign(folder: Path) -> None:
    """See to it that a folder without settings has no file that would be replaced."""
    if (folder / ROWS).exists():
        raise OutputError(f"{folder} has {ROWS} and no {SETTINGS}: give another folder")
    for name in (TABLE, SUMMARY, PAGE):
        if (folder / name).exists():
            raise OutputError(f"{folder} has a {name} of something else: give another folder")


def _record(line: bytes) -> dict[str, Any]:
    record = json.loads(line)  # msgspec's own reader refuses file names that are no UTF-8
    msgspec.convert(record, Record)
    if "fingerprint" in record:
        msgspec.convert(record, Measured)
    return record


def append(folder: Path, record: dict[str, Any]) -> None:
    """Add one picture's record, on the disk before this returns.

    Raises:
        Unwritable: it cannot be written.
    """
    journal.append(folder / ROWS, [record])


def write_table(folder: Path, records: Iterable[dict[str, Any]], metrics: Iterable[str]) -> None:
    """Write results.csv: a line for each picture, class and method; an empty cell where a value is missing.

    Texts stand in it as `plain_cell` makes them.

    Raises:
        OutputError: it cannot be written.
    """
    metrics = tuple(metrics)
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow((*COLUMNS, *metrics, "note"))
    for record in records:
        for row in record["rows"]:
            cells = [record["image"], *(row[name] for name in COLUMNS[1:])]
            cells += [row["metrics"].get(name) for name in metrics] + [row["note"]]
            table.writerow([_cell(value) for value in cells])
    write_whole(folder / TABLE, text.getvalue().encode("utf-8", "backslashreplace"))


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    return plain_cell(value) if isinstance(value, str) else value


def plain_cell(text: str) -> str:
    """A text that is one line, and no formula to a spreadsheet.

    Control characters are written as escapes. An apostrophe goes before what would begin a formula (OWASP,
    CSV Injection). rows.jsonl has the text as it is.
    """
    text = printable(text)
    return f"'{text}" if text.startswith(FORMULA) else text
