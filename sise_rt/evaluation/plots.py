"""The report's plots as inline SVG, which takes its ink from the page and refers to nothing outside."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sise_rt.metrics.check import CURVES

INK = "#123456"  # stands for the page's own text colour
# Readable on white and on near-black; shapes and dashes tell methods apart without colour.
COLOURS = ("#d1495b", "#2a86c8", "#2e9e6b", "#b07d12", "#8a63d2", "#c2578e", "#3a9ca6", "#8a7566", "#7b8794")
MARKERS = "osD^vP*Xh"
DASHES = ("-", "--", "-.", ":")
TITLES = {
    "ebpg": "EBPG",
    "miou": "mIoU",
    "bbox": "Bbox",
    "pointing-game": "Pointing game",
    "drop": "Drop",
    "increase": "Increase",
    "insertion": "Insertion",
    "deletion": "Deletion",
    "road": "ROAD",
    "complexity": "Complexity",
}


def passes_plot(methods: Mapping[str, Any], metrics: Sequence[str]) -> str | None:
    """Each metric against the mean number of forward passes, one point a method; None without a point."""
    shown = [m for m in metrics if any(_point(figures, m) for figures in methods.values())]
    if not shown:
        return None
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = _figure(3.2 * columns, 2.5 * rows + 0.5)
    for place, metric in enumerate(shown, 1):
        axes = figure.add_subplot(rows, columns, place)
        for i, (method, figures) in enumerate(methods.items()):
            if not (point := _point(figures, metric)):
                continue
            passes, mean, interval = point
            low, high = interval or (mean, mean)
            axes.plot([passes, passes], [100 * low, 100 * high], color=_colour(i), linewidth=1)
            style = {"color": _colour(i), "marker": MARKERS[i % len(MARKERS)], "linestyle": "none"}
            axes.plot([passes], [100 * mean], label=method, **style)
        axes.set_xscale("log")
        axes.set_title(TITLES[metric], fontsize=10)
        axes.set_ylabel("%")
        axes.set_xlabel("forward passes")
        _plain(axes)
    _legend(figure)
    return _svg(figure, "passes", "Each metric against the mean number of forward passes")


def curves_plot(methods: Mapping[str, Any]) -> str | None:
    """Mean confidence while pixels come (insertion) and go (deletion); None where neither was measured."""
    shown = [name for name in CURVES if any(name in figures["curves"] for figures in methods.values())]
    if not shown:
        return None
    figure = _figure(4.4 * len(shown), 3.4)
    for place, name in enumerate(shown, 1):
        axes = figure.add_subplot(1, len(shown), place)
        for i, (method, figures) in enumerate(methods.items()):
            if curve := figures["curves"].get(name):
                dash = DASHES[i % len(DASHES)]
                axes.plot(curve["share"], curve["confidence"], dash, color=_colour(i), label=method)
        axes.set_title(TITLES[name], fontsize=10)
        axes.set_xlabel("share of the pixels " + ("revealed" if name == "insertion" else "removed"))
        axes.set_ylabel("confidence")
        axes.set_ylim(bottom=0)
        _plain(axes)
    _legend(figure)
    return _svg(figure, "curves", "Mean confidence while pixels are revealed or removed")


def _point(figures: Mapping[str, Any], metric: str) -> tuple[float, float, list[float] | None] | None:
    entry = figures["metrics"].get(metric)
    if not entry or entry["mean"] is None or not figures["passes"]:
        return None
    return figures["passes"], entry["mean"], entry["interval"]


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _plain(axes: Any) -> None:
    axes.patch.set_alpha(0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, which="both", labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(INK)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_fontsize(9)


def _legend(figure: Any) -> None:
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    columns = min(5, len(entries))
    legend = figure.legend(
        entries.values(),
        entries.keys(),
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a dollar in a method's option is no formula


def _svg(figure: Any, name: str, label: str) -> str:
    """The drawing alone: no prolog, no metadata, and ids of its own among the page's other drawings."""
    import matplotlib

    figure.patch.set_alpha(0)
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata=nothing)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return text.replace(INK, "currentColor").replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
