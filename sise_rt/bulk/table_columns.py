"""The columns that the table of every run has, and what of a line stands in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

LARGEST = 2**63 - 1  # integers that a column holds

TEXT, TEXTS, INTEGER, NUMBER, YES_OR_NO, TIME = "string", "texts", "int64", "double", "bool", "time"
COLUMNS = {
    "id": (TEXT, "Of the item, as in `results.jsonl`."),
    "status": (TEXT, "`done`, `no evidence`, `failed` or `skipped`."),
    "error": (TEXT, "The kind of what went wrong."),
    "message": (TEXT, "What went wrong, for people."),
    "reason": (TEXT, "Why it was skipped."),
    "asked": (TEXT, "The method as it was asked for."),
    "part": (INTEGER, "Which of the item's rows this is, from 1."),
    "parts": (INTEGER, "Of how many."),
    "files": (TEXTS, "What was written of it, below the output folder."),
    "truth": (TEXT, "The class that is in the picture, as the list gives it."),
    "target": (INTEGER, "The class that is explained."),
    "label": (TEXT, "Its label."),
    "confidence": (NUMBER, "Of the model in it."),
    "predicted": (INTEGER, "The class with the highest confidence."),
    "predicted_label": (TEXT, "Its label."),
    "predicted_confidence": (NUMBER, "Of the model in it."),
    "picture": (TEXT, "`picture.name` of the record."),
    "picture_sha256": (TEXT, "`picture.sha256`."),
    "width": (INTEGER, "`picture.width`, in pixels."),
    "height": (INTEGER, "`picture.height`, likewise."),
    "model": (TEXT, "`bundle.name`."),
    "bundle_sha256": (TEXT, "`bundle.sha256`."),
    "method": (TEXT, "Its name."),
    "settings": (TEXT, "Its settings, as JSON."),
    "border_share": (NUMBER, "`map.border_share`."),
    "masks": (INTEGER, "As in the record."),
    "guessed": (INTEGER, "As in the record."),
    "passes": (INTEGER, "As in the record."),
    "partial": (YES_OR_NO, "As in the record."),
    "region_bears": (YES_OR_NO, "`check.region.bears`."),
    "drop": (NUMBER, "`check.drop`."),
    "increase": (NUMBER, "`check.increase`."),
    "insertion": (NUMBER, "`check.insertion`."),
    "deletion": (NUMBER, "`check.deletion`."),
    "provider": (TEXT, "`runtime.provider`."),
    "device": (TEXT, "`runtime.device`."),
    "precision": (TEXT, "`runtime.precision`."),
    "seconds": (NUMBER, "The sum of `seconds`; several targets of a picture share some of them."),
    "time": (TIME, "When the explanation was made, in UTC."),
    "warnings": (TEXTS, "The codes of the record's warnings."),
    "record": (TEXT, "The whole record, as JSON."),
}
"""The columns that every table has, in their order: their kinds, and what they are."""

Line = Mapping[str, Any]


def of_item(line: Line) -> dict[str, Any]:
    """The columns of every line."""
    error, target, said = (line[key] or {} for key in ("error", "target", "predicted"))
    part, parts = line["part"]
    return {
        "id": _text(line["id"]),
        "status": line["status"],
        "error": error.get("kind"),
        "message": _text(error.get("message")),
        "reason": _text(line["reason"]),
        "asked": line["asked"],
        "part": part,
        "parts": parts,
        "files": [_text(name) for name in line["files"]],
        "truth": None if line["truth"] is None else _text(str(line["truth"])),
        "target": target.get("index"),
        "label": _text(target.get("label")),
        "confidence": line["confidence"],
        "predicted": said.get("index"),
        "predicted_label": _text(said.get("label")),
        "predicted_confidence": said.get("confidence"),
    }


def of_record(line: Line) -> dict[str, Any]:
    """The columns of an explanation."""
    picture, check, seconds = line["picture"], line["check"] or {}, line["seconds"]
    return {
        "picture": _text(picture["name"]),
        "picture_sha256": picture["sha256"],
        "width": picture["width"],
        "height": picture["height"],
        "model": _text(line["bundle"]["name"]),
        "bundle_sha256": line["bundle"]["sha256"],
        "method": line["method"],
        "settings": json.dumps(line["settings"]),
        "border_share": line["map"]["border_share"],
        **{name: line[name] for name in ("masks", "guessed", "passes", "partial")},
        "region_bears": check.get("region", {}).get("bears"),
        **{name: check.get(name) for name in ("drop", "increase", "insertion", "deletion")},
        **{name: _text(line["runtime"][name]) for name in ("provider", "device", "precision")},
        "seconds": sum(seconds["shared"].values()) + sum(seconds["own"].values()),
        "time": datetime.fromisoformat(line["time"]),
        "warnings": [warning["code"] for warning in line["warnings"]],
    }


def cell(value: Any, kind: str) -> Any:
    """A carried value as its column has it."""
    if value is None or kind in (YES_OR_NO, INTEGER):
        return value
    if kind == NUMBER:
        return float(value)
    return _text(value if isinstance(value, str) else json.dumps(value))


def _text(text: str | None) -> str | None:
    return None if text is None else escaped(text)


def escaped(text: str) -> str:
    """A text as UTF-8 has it; of names that are none, the bytes as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def kind_of(value: Any) -> str:
    """Of a carried value; empty of none."""
    match value:
        case None:
            return ""
        case bool():
            return YES_OR_NO
        case int() if abs(value) <= LARGEST:
            return INTEGER
        case float():
            return NUMBER
    return TEXT


def joined(one: str, other: str) -> str:
    """The kind that holds values of both."""
    if one == other or not other:
        return one
    return other if not one else NUMBER if {one, other} == {INTEGER, NUMBER} else TEXT
