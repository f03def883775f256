"""The page of an explanation: one file, which loads nothing, runs nothing, and prints on one sheet of A4."""

from __future__ import annotations

from importlib import resources
from xml.etree.ElementTree import Element

from . import sentences
from .audit import audit
from .elements import bar, data_uri, document, element
from .figures import Figures
from .sentences import Record, begun, cut, file_name, named, trust

MOST_WARNINGS = 4  # that are told, so that the page stays one sheet
ROOM, LEAST_ROOM = 600, 100  # characters of all of them, likewise, and that each has at least
WIDE = 3  # width by height of pictures that have the page's whole width
SHAPES = ((8, "stack flat"), (WIDE, "stack"), (1.25, "landscape"), (0, "upright"))  # from this aspect on
COLUMNS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 14)  # of blocks side by side


def write_page(record: Record, figures: Figures) -> str:
    """The page, of an explanation's record and figures.

    Args:
        record: from `Explanation.record`.
        figures: from `sise_rt.report.figures.draw`.
    """
    target = named(**record["target"])
    style = resources.files(__package__).joinpath("page.css").read_text("utf-8")
    body = element(
        "main",
        _header(record, target),
        _pictures(record, figures, target),
        element("section", _classes(record), _region(record), class_="pair"),
        _warnings(record),
        _blocks(figures),
        element(
            "section",
            element(
                "div",
                element("h2", "How to read it"),
                element("p", sentences.reading(record)),
            ),
            element("div", element("h2", "What it does not mean"), element("p", sentences.LIMITS)),
            class_="pair prose",
        ),
        element(
            "section",
            element("h2", "How it was made"),
            element("p", sentences.method(record)),
            class_="prose",
        ),
        element("section", element("h2", "For an audit"), audit(record), class_="audit"),
    )
    return document(f"{target}: what {_model(record)} looked at", style, [body])


def _header(record: Record, target: str) -> Element:
    return element(
        "header",
        element("p", f"What {_model(record)} looked at in {file_name(record)}", class_="over"),
        element("h1", target),
        element("p", sentences.decision(record), class_="lead"),
    )


def _model(record: Record) -> str:
    return cut(record["bundle"]["name"], 40)


def _pictures(record: Record, figures: Figures, target: str) -> Element:
    scale = element(
        "div",
        element("span", "mattered least"),
        element("img", src=data_uri(figures.scale, "jpeg"), alt="from pale to bright"),
        element("span", "mattered most"),
        class_="scale",
    )
    looked = f"What speaks for {target}, over the picture. {figures.where}"
    return element(
        "section",
        element(
            "figure",
            element("img", src=data_uri(figures.picture, "jpeg"), alt=f"The picture {file_name(record)}"),
            element("figcaption", "The picture"),
            class_="shown",
        ),
        element(
            "figure",
            element("img", src=data_uri(figures.overlay, "jpeg"), alt=looked),
            element("figcaption", figures.where, scale),
            class_="shown",
        ),
        class_=f"pictures pair {_shape(figures.aspect)}",
    )


def _shape(aspect: float) -> str:
    """How a picture of this width by height is set: beside its overlay, or above it."""
    return next(style for least, style in SHAPES if aspect >= least)


# -------------------- numbers


def _classes(record: Record) -> Element:
    """The best classes, and the explained one where it is none of them."""
    activation, target = record["activation"], record["target"]
    rows = [
        (named(b["index"], b["label"]), b["confidence"], b["index"] == target["index"])
        for b in record["best"]
    ]
    if not any(explained for *_, explained in rows):
        rows.append((f"{named(**target)} (explained)", record["confidence"], True))
    left = 1 - sum(value for _, value, _ in rows)
    if activation == "softmax" and left >= 0.001:
        rows.append(("all others together", left, False))
    lines = [_line(name, value, activation, emphasised=explained) for name, value, explained in rows]
    return element("div", element("h2", "What the model says"), element("table", element("tbody", *lines)))


def _line(name: str, value: float, activation: str, *, emphasised: bool = False) -> Element:
    """A line of a table: a name, a bar where the value is a confidence, and the value."""
    return element(
        "tr",
        element("th", name, scope="row", title=name),
        None if activation == "none" else element("td", bar(value), class_="bar"),
        element("td", trust(value, activation), class_="number"),
        class_="target" if emphasised else None,
    )


def _region(record: Record) -> Element | None:
    """What happens to the confidence when the marked region is hidden, and when it is shown alone."""
    region = record["check"] and record["check"].get("region")
    if not region:
        return None
    activation = record["activation"]
    rows = [("whole picture", region["whole"]), ("region hidden", region["hidden"])]
    if region["random"]:
        rows.append(("as much hidden elsewhere", region["random"]["mean"]))
    rows.append(("region alone", region["alone"]))
    lines = [_line(name, value, activation, emphasised=name == rows[1][0]) for name, value in rows]
    return element(
        "div",
        element("h2", "If the marked region is hidden"),
        element("table", element("tbody", *lines)),
        element("p", sentences.bearing(record), class_="verdict"),
    )


# -------------------- words


def _warnings(record: Record) -> Element | None:
    warnings = record["warnings"]
    if not warnings:
        return None
    shown, room = [], ROOM
    for after, warning in reversed(list(enumerate(reversed(warnings[:MOST_WARNINGS])))):
        text = _sentence(begun(warning["message"], room - after * LEAST_ROOM))
        room -= len(text)
        shown.append(element("li", text, " ", element("code", warning["code"])))
    if more := warnings[MOST_WARNINGS:]:
        shown.append(element("li", f"{len(more)} more stand in the record."))
    return element("section", element("h2", "To be heeded"), element("ul", *shown), class_="heed")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith(('.', '!', '?', '…')) else '.'}"


def _blocks(figures: Figures) -> Element | None:
    if not figures.blocks:
        return None
    count = len(figures.blocks)
    wanted = count if count <= 8 else -(-count // 2)
    columns = next((number for number in COLUMNS if number >= wanted), COLUMNS[-1])
    tiles = [
        element(
            "figure",
            element("div", "no usable map", class_="none")
            if tile is None
            else element("img", src=data_uri(tile, "jpeg"), alt=f"The map of {name} over the picture"),
            element("figcaption", cut(name, 40)),
        )
        for name, tile in figures.blocks
    ]
    return element(
        "section",
        element("h2", "Block by block, from the network's first layers to its last"),
        element("div", *tiles, class_=f"blocks of-{columns}"),
    )
