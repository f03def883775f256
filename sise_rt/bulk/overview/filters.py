"""The form that finds lines on all pages: it is only of use where the first page's script runs."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from sise_rt.report.elements import Child, element
from sise_rt.report.sentences import cut

from .counting import CARDS, many
from .index import MOST, Index

NAME = 60  # characters of a choice
ORDERS = (
    ("", "order of the run"),
    ("-border", "most at the border first"),
    ("confidence", "least confident first"),
    ("-confidence", "most confident first"),
    ("id", "by name"),
)


def filters(index: Index) -> Element:
    """The form, with what the lines can be chosen by."""
    warnings = [("any", "any warning"), ("none", "no warning")]
    return element(
        "form",
        _field("Search", element("input", type="search", name="q", autocomplete="off")),
        _choice("Status", "status", index),
        _choice("Explained class", "target", index),
        _choice("The model decides for", "predicted", index),
        _choice("The model is", "truth", index),
        _choice("Warning", "warnings", index, warnings),
        _range("Confidence", "confidence"),
        _range("Share along the border", "border"),
        _field("Sorted", _select("sort", [element("option", told, value=key) for key, told in ORDERS])),
        element("button", "Clear", type="reset"),
        element("p", id="count", role="status"),
        _limit(index),
        id="filter",
        hidden="",
        aria_label="Filter of the cards",
    )


def _limit(index: Index) -> Element | None:
    if not index.left_out:
        return None
    told = f"The filter finds the first {MOST:,} cards; {index.left_out:,} more stand on the pages alone."
    return element("p", told, class_="heed")


def _choice(
    title: str, column: str, index: Index, before: list[tuple[str, str]] | None = None
) -> Element | None:
    """What one of a column's values is chosen with; None where there is none."""
    found = index.choices(column)
    if not found:
        return None
    options = [element("option", "all", value="")]
    options += [element("option", told, value=value) for value, told in before or ()]
    options += [
        element("option", f"{cut(name, NAME)}: {many(n, CARDS)}", value=value) for value, name, n in found
    ]
    return _field(title, _select(column, options))


def _select(name: str, options: list[Element]) -> Element:
    return element("select", *options, name=name)


def _range(title: str, column: str) -> Element:
    """Two numbers that a value lies between."""
    box = {"type": "number", "min": "0", "max": "1", "step": "any"}
    return element(
        "fieldset",
        element("legend", title),
        element("input", name=f"{column}-from", aria_label=f"{title}, from", placeholder="0", **box),
        element("span", "to"),
        element("input", name=f"{column}-to", aria_label=f"{title}, to", placeholder="1", **box),
    )


def _field(title: str, control: Child) -> Element:
    return element("label", element("span", title), control)
