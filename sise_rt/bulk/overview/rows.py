"""What the overview tells of a line of the results, in one shape for all that becomes of an item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sise_rt.bulk.ledger import Status
from sise_rt.report.sentences import named, trust

Line = Mapping[str, Any]
LABEL = 60  # characters of a class's label, at most


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the results, as it is shown.

    Attributes:
        id: of the item.
        part: which of the item's lines it is, from 1.
        status: one of `sise_rt.bulk.items.STATUSES`.
        target: the explained class, by its name; empty where there is none.
        predicted: the class with the highest confidence, likewise.
        confidence: in the explained class, or where none is explained in the predicted one; None where
            neither is known, or where it is no confidence.
        said: the same in words.
        border: the share of the map's mass along the border; None where there is no map.
        warnings: their codes.
        right: whether the predicted class is the true one; None where either is unknown.
        truth: the true class, as it was given; empty where it is unknown.
        kind: of the error; empty where there is none.
        told: why it failed, or was left out; else empty.
        method: as it was asked for; empty where none was run.
        shared: seconds that the item's lines share.
        own: seconds that this line took.
        time: when it was explained; empty where it was not.
        aspect: the width of the model's input by its height; 1 where there is no map.
        files: its results: paths below the run's folder, with `/`.
    """

    id: str
    part: int
    status: Status
    target: str
    predicted: str
    confidence: float | None
    said: str
    border: float | None
    warnings: tuple[str, ...]
    right: bool | None
    truth: str
    kind: str
    told: str
    method: str
    shared: float
    own: float
    time: str
    aspect: float
    files: tuple[str, ...]


def row_of(line: Line) -> Row:
    """A line of the results as it is shown; `result.schema.json` tells what it has."""
    target, best, confidence = line["target"], line["predicted"], line["confidence"]
    if confidence is None and best is not None and target is None:
        confidence = best["confidence"]
    activation, truth, error = line.get("activation", "softmax"), line["truth"], line["error"] or {}
    seconds, map_ = line.get("seconds") or {"shared": {}, "own": {}}, line.get("map") or {}
    return Row(
        id=line["id"],
        part=line["part"][0],
        status=line["status"],
        target=_named(target),
        predicted=_named(best),
        confidence=None if confidence is None or activation == "none" else float(confidence),
        said="" if confidence is None else _said(float(confidence), activation),
        border=map_.get("border_share"),
        warnings=tuple(dict.fromkeys(warning["code"] for warning in line.get("warnings", ()))),
        right=None if truth is None or best is None else str(truth) in (best["label"], str(best["index"])),
        truth="" if truth is None else str(truth),
        kind=error.get("kind", ""),
        told=error.get("message") or line["reason"] or "",
        method=line["asked"] or "",
        shared=sum(seconds["shared"].values()),
        own=sum(seconds["own"].values()),
        time=line.get("time", ""),
        aspect=map_.get("width", 1) / map_.get("height", 1),
        files=tuple(line["files"]),
    )


def _named(class_: Line | None) -> str:
    return "" if class_ is None else named(class_["index"], class_["label"], LABEL)


def _said(confidence: float, activation: str) -> str:
    return f"{'output' if activation == 'none' else 'confidence'} {trust(confidence, activation)}"
