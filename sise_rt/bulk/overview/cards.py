"""A card of the gallery: what came of one line of the results, with its thumbnail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import PurePath
from urllib.parse import quote
from xml.etree.ElementTree import Element

from sise_rt.report.elements import Child, data_uri, element
from sise_rt.report.sentences import cut, share

from .rows import Row
from .thumbnails import FORM, Thumbnail

NAME, TOLD = 120, 400  # characters of an item's id and of an error, at most: results.jsonl has all of them


def card(row: Row, shown: Thumbnail | None, number: int, root: str) -> Element:
    """A card.

    Args:
        row: what it tells.
        shown: what it shows; None where nothing was kept.
        number: of the line among all, from 0: the card's id is `i` and the next one.
        root: the run's folder as the page sees it, as `./` or `../`.
    """
    name = cut(row.id, NAME)
    file = next((file for ending in (".html", ".png") for file in row.files if file.endswith(ending)), None)
    title = name if file is None else element("a", name, href=address(file, root))
    return element(
        "li",
        element("div", *_images(row, shown), class_="shown"),
        element("h3", title),
        *(element("p", text, class_=style) for style, text in _lines(row)),
        id=f"i{number + 1}",
        class_=row.status.replace(" ", "-"),
    )


def address(file: str, root: str) -> str:
    """A file of the run's as a relative address, whatever its name holds; never one elsewhere."""
    path = PurePath(file).as_posix().lstrip("/")
    return root + quote(os.fsencode(path))


def _images(row: Row, shown: Thumbnail | None) -> Iterator[Child]:
    if shown is None:
        yield element("p", "no picture was kept", class_="none")
        return
    size = {"width": str(shown.size[0]), "height": str(shown.size[1]), "decoding": "async"}
    name = cut(row.id, NAME)
    yield element(
        "img", src=data_uri(shown.picture, FORM), alt=f"The picture {name}", class_="picture", **size
    )
    if shown.overlay is None:
        yield element("p", "no map", class_="none")
    else:
        alt = f"What speaks for {row.target}, over the picture"
        yield element("img", src=data_uri(shown.overlay, FORM), alt=alt, class_="map", **size)


def _lines(row: Row) -> Iterator[tuple[str, str]]:
    """What a card says, as pairs of a style and a text."""
    explained = row.target or row.predicted
    if explained:
        yield "said", f"{explained}, {row.said}" if row.said else explained
    if row.target and row.predicted and row.target != row.predicted:
        yield "faint", f"The model decides for {row.predicted}."
    if row.truth:
        verdict = {True: ", as the model says", False: ", which the model does not say", None: ""}[row.right]
        yield "wrong" if row.right is False else "faint", f"Truth: {cut(row.truth, NAME)}{verdict}."
    if row.border is not None:
        yield "faint", f"{share(row.border)} of the map lies along the border."
    if row.warnings:
        yield "heed", ", ".join(row.warnings)
    if row.status != "done":
        yield (
            "faint" if row.status == "skipped" else "problem",
            cut(": ".join(filter(None, (row.status, row.kind, row.told))), TOLD),
        )
