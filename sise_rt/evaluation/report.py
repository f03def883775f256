"""report.html: one page with the results, which needs nothing beside itself."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from sise_rt.errors import NoEvidence, SiseError
from sise_rt.explainer import Explainer
from sise_rt.files import write_whole
from sise_rt.pictures.picture import Picture, in_rgb
from sise_rt.pictures.resizing import resize_map

from .measure import METRICS, Plan, answers_of
from .plots import TITLES, curves_plot, passes_plot
from .run import Outcome
from .samples import Dataset
from .store import PAGE
from .summary import LOWER_IS_BETTER
from .truth import draw

SIDE = 240
"""Of the pictures in the page, at most, in pixels."""
YES_OR_NO = frozenset({"increase", "pointing-game"})  # they do not rank pictures


def write_report(
    folder: Path,
    summary: Mapping[str, Any],
    explainer: Explainer,
    dataset: Dataset,
    plan: Plan,
    outcome: Outcome,
) -> None:
    """Write report.html. Its example pictures are explained once more.

    Raises:
        OutputError: it cannot be written.
    """
    metric = next((name for name in plan.metrics if name not in YES_OR_NO), plan.metrics[0])
    cases = [
        _shown(title, record, row, explainer, dataset, plan) | {"value": _percent(row["metrics"][metric])}
        for title, record, row in choose_cases(outcome.records, metric, plan.methods[0])
    ]
    page = render(summary, cases, TITLES[metric])
    write_whole(folder / PAGE, page.encode("utf-8", "backslashreplace"))


def render(summary: Mapping[str, Any], cases: Sequence[Mapping[str, Any]] = (), case_metric: str = "") -> str:
    """The page, of a summary (`summarise`) and example cases."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    source = resources.files(__package__).joinpath("report.html.jinja").read_text("utf-8")
    methods = summary["methods"]
    metrics = summary["settings"]["metrics"]
    passes = passes_plot(methods, metrics) if len(methods) > 1 else None
    curves = curves_plot(methods)
    settings = {key: value for key, value in summary["settings"].items() if value is not None}
    plain = {key.replace("_", " "): _written(value) for key, value in settings.items()}
    return environment.from_string(source).render(
        summary,
        names=list(methods),
        table=[_line(name, methods) for name in METRICS if name in metrics],
        costs=_costs(methods),
        passes=Markup(passes) if passes else None,  # drawn here, of numbers and method names
        curves=Markup(curves) if curves else None,
        cases=cases,
        case_metric=case_metric,
        plain_settings=plain,
    )


def _written(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_written(entry)}" for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        shown = ", ".join(map(str, value[:20]))
        return f"{shown} and {len(value) - 20} more" if len(value) > 20 else shown
    return str(value)


def _line(metric: str, methods: Mapping[str, Any]) -> dict[str, Any]:
    entries = [figures["metrics"][metric] for figures in methods.values()]
    cells = []
    for entry in entries:
        difference = entry["difference"]
        missing = f", {entry['nan']} without value" if entry["nan"] else ""
        cells.append(
            {
                "mean": _percent(entry["mean"]),
                "interval": _interval(entry["interval"]),
                "count": f"n = {entry['count']}{missing}",
                "difference": _difference(difference) if difference else "",
                "best": entry["best"],
            }
        )
    return {"title": TITLES[metric], "lower": metric in LOWER_IS_BETTER, "cells": cells}


def _difference(difference: Mapping[str, Any]) -> str:
    if difference["mean"] is None:
        return "no pair in common"
    return f"Δ {_tenths(difference['mean']):+.1f} {_interval(difference['interval'])}".rstrip()


def _tenths(fraction: float) -> float:
    """In %; adding 0 turns a rounded -0.0 into 0.0."""
    return round(100 * fraction, 1) + 0.0


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{_tenths(value):.1f}"


def _interval(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"[{_tenths(interval[0]):.1f}, {_tenths(interval[1]):.1f}]"


def _costs(methods: Mapping[str, Any]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for title, key, text in (
        ("Pixels shown for Drop and Increase, %", "kept", lambda v: f"{100 * v:.1f}"),
        ("Forward passes", "passes", lambda v: f"{v:.0f}"),
        ("Seconds", "seconds", lambda v: f"{v:.3g}"),
    ):
        values = [entry[key] for entry in methods.values()]
        if any(value is not None for value in values):
            lines.append({"title": title, "cells": ["–" if v is None else text(v) for v in values]})
    silent = [entry["no_evidence"] for entry in methods.values()]
    return [*lines, {"title": "Pairs without evidence", "cells": silent}] if any(silent) else lines


# -------------------- example pictures


def choose_cases(
    records: Sequence[Mapping[str, Any]], metric: str, method: str
) -> list[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """The best, median and worst pair of a method, as (title, record, row), where there are as many."""
    pairs = [
        (record, row)
        for record in records
        for row in record["rows"]
        if row["method"] == method and row["metrics"].get(metric) is not None
    ]
    pairs.sort(key=lambda pair: pair[1]["metrics"][metric], reverse=metric not in LOWER_IS_BETTER)
    places = {"Best": 0, "Worst": len(pairs) - 1, "Median": len(pairs) // 2}
    chosen: dict[int, str] = {}
    for title, place in places.items():
        if 0 <= place < len(pairs):
            chosen.setdefault(place, title)
    return [(title, *pairs[place]) for place, title in sorted(chosen.items())]


def _shown(
    title: str,
    record: Mapping[str, Any],
    row: Mapping[str, Any],
    explainer: Explainer,
    dataset: Dataset,
    plan: Plan,
) -> dict[str, Any]:
    image, pair = record["image"], (row["class"], row["target"])
    rows = {other["method"]: other for other in record["rows"] if (other["class"], other["target"]) == pair}
    case: dict[str, Any] = {
        "title": title,
        "image": image,
        "label": row["label"],
        "pictures": [],
        "failed": "",
    }
    try:
        picture = explainer.prepare(
            dataset.folder / image, bit_depth=plan.bit_depth, max_pixels=plan.max_pixels
        )
        picture = replace(picture, name=image)  # as the rows, and the files of maps, have it
        explained = answers_of(explainer, picture, [row["target"]], plan)
    except SiseError as error:  # the picture may be gone since it was measured
        return case | {"failed": str(error)}
    for method in plan.methods:
        answer = explained[method][0]
        if isinstance(answer, NoEvidence):
            case["failed"] += f"{method}: {answer} "
            continue
        if not case["pictures"]:
            case["pictures"].append(_original(picture, image, row, dataset, plan))
        values = (f"{TITLES[name]} {_percent(value)}" for name, value in rows[method]["metrics"].items())
        alt = f"Explanation by {method} of {row['label']} in {image}"
        caption = f"{method}: {', '.join(values)}"
        case["pictures"].append({"data": _data_uri(answer.overlay(picture)), "alt": alt, "caption": caption})
    return case


def _original(
    picture: Picture, image: str, row: Mapping[str, Any], dataset: Dataset, plan: Plan
) -> dict[str, Any]:
    small = _small(in_rgb(picture.pixels))
    caption = "picture"
    if row["class"] is not None:
        sample = next(sample for sample in dataset.samples if sample.image == image)
        truth = sample.present[row["class"]]
        assert truth is not None  # its row is annotated
        mask, _ = draw(truth, picture.placement.original, dataset.folder, image, plan.max_pixels)
        if mask is not None:
            inside = resize_map(mask.astype(np.float32), (small.shape[0], small.shape[1])) >= 0.5
            lines, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            small = small.copy()  # it may be the picture that the overlays are painted on
            cv2.drawContours(small, lines, -1, (0, 0, 0), 3)
            cv2.drawContours(small, lines, -1, (255, 255, 255), 1)
            caption = f"picture, ground truth of {row['class']} outlined"
    return {"data": _data_uri(small), "alt": f"{image}: {caption}", "caption": caption}


def _small(rgb: np.ndarray) -> np.ndarray:
    scale = SIDE / max(rgb.shape[:2])
    size = max(1, round(rgb.shape[0] * scale)), max(1, round(rgb.shape[1] * scale))
    return rgb if scale >= 1 else resize_map(rgb, size)


def _data_uri(rgb: np.ndarray) -> str:
    _, data = cv2.imencode(".jpg", _small(rgb)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
