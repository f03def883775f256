"""The summary of a run, as the first page begins with it: each figure says what it counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from sise_rt.bulk.items import STATUSES
from sise_rt.cautions import CAUTIONS
from sise_rt.methods import METHODS
from sise_rt.metrics.border import EVEN
from sise_rt.report.elements import Child, bar, data_uri, element
from sise_rt.report.sentences import cut, share
from sise_rt.wording import counted

from .counting import EXPLANATIONS, MAPS, PICTURES, Noun, many
from .index import Index
from .mean_maps import MeanMap, drawn_mean
from .tally import BINS, Tally, by_count

SHOWN = 24  # classes that are told
NAME = 80  # characters of an item's id, a class or a setting, at most
HEIGHT = 40  # of a histogram, where its bins are 5 wide


def summary(tally: Tally, index: Index, means: Sequence[tuple[MeanMap, float]]) -> Iterator[Child]:
    """What came of the run, in figures and mean maps.

    Args:
        tally: the figures.
        index: of the filters, which the figures lead to.
        means: the mean maps, and of each the width of the model's input by its height.
    """
    numbers = {
        (column, name): value
        for column in ("status", "target", "predicted", "warnings", "truth")
        for value, name, _ in index.choices(column)
    }

    def to(column: str, name: str) -> Child:
        value = numbers.get((column, name))
        shown = cut(name, NAME)
        return shown if value is None else element("a", shown, href=f"#{column}={value}")

    became = [(to("status", name), tally.statuses[name]) for name in STATUSES if tally.statuses[name]]
    right = {"right": tally.truth[True], "wrong": tally.truth[False]}
    judged = [(to("truth", name), count) for name, count in right.items() if tally.truth]
    yield _pair(
        _bars("What became of the pictures", became, tally.items, PICTURES),
        _bars("Where the truth is known, the model is", judged, tally.truth.total(), PICTURES),
    )
    yield _failures(tally)
    left_out = [(cut(text, NAME), n) for text, n in tally.skipped.most_common(SHOWN)]
    yield _bars("Left out", left_out, tally.items, PICTURES)
    yield _mean_maps(means, to)
    yield _pair(
        _most("What the model decides for", tally.predicted, PICTURES, lambda name: to("predicted", name)),
        _most("What is explained", tally.explained, EXPLANATIONS, lambda name: to("target", name)),
    )
    yield _pair(
        _histogram("Confidence in the explained class", tally.confidences, "0", "1", ""),
        _histogram("Share of the map along the border", tally.borders, "0", "100 %", _EVEN),
    )
    yield _warnings(tally, to)


_EVEN = (
    f"A map that is even everywhere has {share(EVEN)} there. Far more, in many pictures, says that the model "
    "looks at the border, or at what always lies there."
)


def _pair(*children: Element | None) -> Element | None:
    there = [child for child in children if child is not None]
    return element("div", *there, class_="pair") if there else None


def _bars(
    title: str, rows: Sequence[tuple[Child, int]], total: int, what: Noun, note: str = ""
) -> Element | None:
    """A table of counts, with bars of their shares, and of what the counts are; None where there is none."""
    if not rows:
        return None
    lines = [
        element(
            "tr",
            element("th", name, scope="row"),
            element("td", bar(count / total), class_="bar"),
            element("td", f"{count:,}", class_="number"),
        )
        for name, count in rows
    ]
    under = element("p", " ".join(filter(None, (f"Of {many(total, what)}.", note))), class_="faint")
    return element("section", element("h2", title), element("table", element("tbody", *lines)), under)


def _most(title: str, classes: Counter[str], what: Noun, to: Callable[[str], Child]) -> Element | None:
    """The commonest classes, and how many others there are."""
    rest = len(classes) - SHOWN
    others = f"{counted(rest, 'further class', 'further classes')} not shown." if rest > 0 else ""
    rows = [(to(name), count) for name, count in classes.most_common(SHOWN)]
    return _bars(title, rows, classes.total(), what, others)


def _failures(tally: Tally) -> Element | None:
    if not tally.failures:
        return None
    terms: list[Child] = []
    for name, kind in by_count(tally.failures):
        more = f", and {kind.count - len(kind.first):,} more" if kind.count > len(kind.first) else ""
        first = ", ".join(cut(id, NAME) for id in kind.first)
        terms += [element("dt", f"{name}: {many(kind.count, PICTURES)}"), element("dd", f"{first}{more}")]
    return element("section", element("h2", "What failed"), element("dl", *terms), class_="failures")


def _histogram(title: str, counts: Sequence[int], low: str, high: str, note: str) -> Element | None:
    if not sum(counts):
        return None
    most = max(counts)
    bins = [
        element(
            "rect",
            element("title", f"{i / BINS:.2f} to {(i + 1) / BINS:.2f}: {count:,}"),
            x=str(5 * i),
            y=f"{HEIGHT * (1 - count / most):.2f}",
            width="4.6",
            height=f"{HEIGHT * count / most:.2f}",
            class_="part",
        )
        for i, count in enumerate(counts)
    ]
    total = many(sum(counts), EXPLANATIONS)
    told = f"{title}: {total}; at most {most:,} in one of {BINS} equal bins."
    drawing = element(
        "svg",
        *bins,
        viewBox=f"0 0 {5 * BINS} {HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=told,
        class_="histogram",
    )
    scale = element("p", element("span", low), element("span", high), class_="ends faint")
    under = element("p", " ".join(filter(None, (f"Of {total}.", note))), class_="faint")
    return element("section", element("h2", title), drawing, scale, under)


def _warnings(tally: Tally, to: Any) -> Element | None:
    if not tally.warnings:
        return None
    terms: list[Child] = []
    for code, count in tally.warnings.most_common():
        told = f": {many(count, EXPLANATIONS)}"
        terms += [element("dt", to("warnings", code), told), element("dd", CAUTIONS.get(code, ""))]
    return element("section", element("h2", "Warnings"), element("dl", *terms), class_="heed")


def _mean_maps(means: Sequence[tuple[MeanMap, float]], to: Any) -> Element | None:
    if not means:
        return None
    several = len({mean.method for mean, _ in means}) > 1
    figures = [
        element(
            "figure",
            element("img", src=data_uri(drawn_mean(mean, aspect), "png"), alt=_told(mean)),
            element(
                "figcaption",
                to("target", mean.target) if mean.target else "all classes",
                f", {mean.method}" if several else None,
                element("br"),
                f"mean of {many(mean.count, MAPS)}, highest {float(mean.values.max()):.2f}",
            ),
        )
        for mean, aspect in means
    ]
    how = (
        "The mean of the maps over the model's input; the brightest is where the mean is highest, whose "
        "value is told. A spot that stays in the mean of many pictures says that the model looks at the same "
        "place whatever lies there, as at a watermark, a label or a clamp."
    )
    return element(
        "section",
        element("h2", "Where the model looks on average"),
        element("p", how, class_="faint"),
        element("div", *figures, class_="means"),
    )


def _told(mean: MeanMap) -> str:
    row, column = divmod(int(mean.values.argmax()), mean.values.shape[1])
    down, across = (round(100 * (at + 0.5) / mean.values.shape[0]) for at in (row, column))
    of = mean.target or "all classes"
    return f"The mean map of {of}, highest {across} % from the left and {down} % from the top"


def audit(tally: Tally, settings: Mapping[str, Any], resume: str) -> Element:
    """When and with what it was done, and how to go on with it."""
    begun, ended = (time[:19].replace("T", " ") for time in tally.times)
    seconds = f"{tally.seconds:,.1f} seconds of work on {many(tally.explained.total(), EXPLANATIONS)}"
    when = [("Explained", f"{begun} to {ended} UTC; {seconds}")] if begun else []
    terms: list[Child] = []
    for term, text in [*when, *_settings(settings), ("To go on with it", resume)]:
        if text:
            terms += [element("dt", term), element("dd", text)]
    return element("section", element("h2", "How it was made"), element("dl", *terms), class_="audit")


def _settings(settings: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    methods = settings.get("methods")
    if isinstance(methods, Mapping):
        settings = {**settings, "methods": {label: _in_force(label, own) for label, own in methods.items()}}
    for key, value in settings.items():
        if _is_said(value):
            yield key.replace("_", " ").capitalize(), cut(_plain(value), 4 * NAME)


def _in_force(label: str, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings of a method that are not off."""
    method = METHODS.get(label.partition(":")[0])
    return settings if method is None else method.in_force(settings)


def _is_said(value: Any) -> bool:
    """Whether a setting is anything: None, False and what is empty are not, zero is."""
    return value is not None and value is not False and value not in ([], {})


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(entry)}" for key, entry in value.items() if _is_said(entry))
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)
