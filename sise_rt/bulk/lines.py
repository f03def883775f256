"""What came of an item as lines of results.jsonl: one for every explanation, one for an item without any."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

from sise_rt.errors import NoEvidence, SiseError
from sise_rt.explanation import Explanation
from sise_rt.records import record_schema

from .items import DONE, FAILED, NO_EVIDENCE, SKIPPED, Item, Outcome


def result_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) that every line is valid against, that of records within it.

    The package has it as the file `sise_rt/result.schema.json`, which refers to `record.schema.json`.
    """
    file = resources.files("sise_rt").joinpath("result.schema.json")
    schema = json.loads(file.read_text("utf-8"))
    record = record_schema()
    schema["$defs"] |= {record["$id"]: record}
    return schema


def lines_of(outcome: Outcome, files: Sequence[Sequence[str]] = ()) -> list[dict[str, Any]]:
    """The lines of an item, ready for JSON; `docs/results.md` tells what each key means.

    Args:
        outcome: what came of it.
        files: of each of `outcome.parts` those that were written, as paths below the output folder, with `/`.
    """
    item, parts = outcome.item, outcome.parts
    if outcome.status in (FAILED, SKIPPED):
        return [_without(outcome)]
    written = [*files, *[()] * (len(parts) - len(files))]
    return [
        _line(item, asked, part, [number, len(parts)], of_part)
        for number, ((asked, part), of_part) in enumerate(zip(parts, written, strict=True), 1)
    ]


def _line(
    item: Item, asked: str, part: Explanation | NoEvidence, number: list[int], files: Sequence[str]
) -> dict[str, Any]:
    """Of an explanation, or of the target that has none."""
    if isinstance(part, Explanation):
        best = part.best[0]
        of_part = {"predicted": _class((best.index, best.label, best.confidence)), **part.record()}
        return _head(item, DONE, asked=asked, part=number, files=files) | of_part
    target: dict[str, Any] = {"target": None, "confidence": None}
    if part.target is not None:
        index, label, confidence = part.target
        target = {"target": {"index": index, "label": label}, "confidence": confidence}
    found = target | {"predicted": _class(part.predicted), "error": _error(part)}
    return _head(item, NO_EVIDENCE, asked=asked, part=number, files=files) | found


def _without(outcome: Outcome) -> dict[str, Any]:
    """Of an item that has no explanation."""
    said = outcome.prediction
    return _head(outcome.item, outcome.status) | {
        "error": None if outcome.error is None else _error(outcome.error),
        "reason": outcome.reason,
        "predicted": None if said is None else _class((said.index, said.label, said.confidence)),
    }


def _head(
    item: Item,
    status: str,
    *,
    asked: str | None = None,
    part: Sequence[int] = (1, 1),
    files: Sequence[str] = (),
) -> dict[str, Any]:
    """What every line has."""
    return {
        "id": item.id,
        "status": status,
        "error": None,
        "reason": None,
        "asked": asked,
        "part": list(part),
        "files": list(files),
        "columns": {str(name): _plain(value) for name, value in item.columns.items()},
        "truth": item.truth,
        "target": None,
        "confidence": None,
        "predicted": None,
    }


def _error(error: SiseError) -> dict[str, str]:
    return {"kind": type(error).__name__, "message": error.message or type(error).__name__}


def _class(said: tuple[int, str, float] | None) -> dict[str, Any] | None:
    return None if said is None else dict(zip(("index", "label", "confidence"), said, strict=True))


def _plain(value: object) -> Any:
    """What a list carries, as JSON has it: no number that is none, and as text what JSON does not know."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case np.generic():
            return _plain(value.item())
        case Mapping():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
    return str(value)
