"""The report's folder: settings, and a line of results for each picture, which outlives an interrupt."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

from sise_rt.errors import ArgumentError, OutputError, Unwritable
from sise_rt.files import make_folder, write_whole
from sise_rt.wording import printable, reason

ROWS, SETTINGS, TABLE = "rows.jsonl", "settings.json", "results.csv"
SUMMARY, PAGE = "summary.json", "report.html"
CURVE_POINTS = 51  # of a curve that is kept, at evenly spaced shares from 0 to 1
FINGERPRINTS = {"bundle"}  # settings that say nothing to a reader
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
    try:
        content = json.dumps(settings, indent=2, allow_nan=False).encode() + b"\n"
    except ValueError as error:
        raise ArgumentError(f"settings cannot be kept: {error}", settings=("settings",)) from error
    make_folder(folder, settings=("report",))
    try:
        before = path.read_bytes() if path.exists() else None
        started = rows.exists()
        others = [name for name in (TABLE, SUMMARY, PAGE) if (folder / name).exists()]
    except (OSError, ValueError) as error:
        raise OutputError(f"folder {str(folder)!r} cannot be used: {reason(error)}") from error
    if before is None:
        if started:
            raise OutputError(f"{folder} has {ROWS} and no {SETTINGS}: give another folder")
        if others:
            raise OutputError(f"{folder} has a {others[0]} of something else: give another folder")
        write_whole(path, content)
        return {}
    try:
        stored = json.loads(before)
        stored.keys()
    except (ValueError, AttributeError, RecursionError) as error:
        raise OutputError(f"{path} is damaged: give another folder") from error
    settings = json.loads(content)
    if not started and stored.keys() == settings.keys():  # with other keys the file is somebody else's
        write_whole(path, content)
        return {}
    if changed := [key for key in settings | stored if settings.get(key) != stored.get(key)]:
        parts = (
            f"another {key}"
            if key in FINGERPRINTS
            else f"{key}: {_brief(stored.get(key))} there, {_brief(settings.get(key))} now"
            for key in changed
        )
        raise OutputError(
            f"{folder} holds an evaluation with other settings ({'; '.join(parts)}): give another folder, "
            "or the same settings to go on with it",
            settings=("report",),
        )
    return _read_rows(rows)


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Whole lines; a torn last one is cut off, as its picture is not done."""
    try:
        content = path.read_bytes() if path.exists() else b""
        lines = content.split(b"\n")
        records: dict[str, dict[str, Any]] = {}
        good = 0
        for number, line in enumerate(lines[:-1], 1):
            try:
                record = json.loads(line)  # msgspec's own reader refuses file names that are no UTF-8
                msgspec.convert(record, Record)
                if "fingerprint" in record:
                    msgspec.convert(record, Measured)
                records[record["image"]] = record  # of several the last one has most
            except (ValueError, msgspec.ValidationError, RecursionError) as error:
                if number < len(lines) - 1:
                    raise OutputError(
                        f"{path}, line {number}, is damaged ({error}): remove the line to redo it"
                    ) from error
                break
            good += len(line) + 1
        if good < len(content):
            with path.open("r+b") as stream:
                stream.truncate(good)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"{path} cannot be read: {reason(error)}") from error
    return records


def append(folder: Path, record: dict[str, Any]) -> None:
    """Add one picture's record, on the disk before this returns.

    Raises:
        Unwritable: it cannot be written.
    """
    line = json.dumps(record, allow_nan=False).encode() + b"\n"  # ASCII, whatever the file's name holds
    try:
        with (folder / ROWS).open("ab") as stream:
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise Unwritable(
            f"{folder / ROWS} cannot be written: {reason(error)}; what was finished is kept"
        ) from error


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
