"""overview.html and the pages of the gallery, written as the results are read: one page is in memory."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from sise_rt.errors import OutputError
from sise_rt.files import make_folder, write_whole
from sise_rt.report.elements import Child, document, element
from sise_rt.report.sentences import cut
from sise_rt.wording import reason

from .cards import card
from .counting import CARDS, PICTURES, many
from .filters import filters
from .index import Index
from .mean_maps import MeanMaps
from .rows import Line, Row
from .side_file import FOLDER, Shelf, shelf, side_files
from .summary import SHOWN, audit, summary
from .tally import Tally, items_of

FIRST = "overview.html"
PAGE = 200  # lines of the results on a page
MODEL = 60  # characters of a model's name
SAME = "'self' file:"  # frames of the same place, which may be a disk
VIEWS = (("both", "Picture and map"), ("picture", "Picture"), ("map", "Map"))


def write_overview(
    folder: Path, lines: Iterable[Line], settings: Mapping[str, Any], *, resume: str = ""
) -> Tally:
    """Write the overview of a run: `overview.html` and, from the 201st line on, `overview/0002.html` ...

    Args:
        folder: of the run, with the side files below it.
        lines: of the results; an item's lines stand together.
        settings: that the results depend on, ready for JSON.
        resume: in words, how the run is gone on with.

    Returns:
        The run in figures.

    Raises:
        OutputError: a page cannot be written, or a side file cannot be read.
    """
    make_folder(folder / FOLDER)
    with shelf(side_files(folder)) as shown:
        gallery = _Gallery(folder, shown, cut(str(settings.get("model", "the model")), MODEL))
        for rows in items_of(lines):
            gallery.add(rows)
        gallery.finish(settings, resume)
    return gallery.tally


def refuse_foreign_pages(folder: Path) -> None:
    """Find out before the work whether pages would replace or remove any that are not of a run.

    Those of a run have side files beside them, which are there first.

    Raises:
        OutputError: there are such pages, or the folder cannot be read.
    """
    if side_files(folder):
        return
    try:
        present = [path for path in (folder / FIRST, *_further(folder / FOLDER)) if os.path.lexists(path)]
    except OSError as error:
        raise OutputError(f"{folder / FOLDER} cannot be read: {reason(error)}", settings=("out",)) from error
    if present:
        raise OutputError(
            f"{str(present[0])!r} exists already and is no overview of a run, so it stays as it is: choose "
            "another folder, or do without an overview",
            settings=("out", "overview"),
        )


class _Gallery:
    """What of a run is written, and what is counted of it, while its lines are read.

    Attributes:
        tally: the figures so far.
    """

    def __init__(self, folder: Path, shown: Shelf, model: str):
        self.tally = Tally()
        self._folder, self._shown, self._model = folder, shown, model
        self._index, self._means = Index(), MeanMaps()
        self._aspect: dict[str, float] = {"": 1.0}  # of the model's input, by the class and for all
        self._token = secrets.token_hex(16)  # by which pages tell the first one from any other that asks
        self._number = 1  # of the page that is being filled
        self._cards: list[Element] = []
        self._first: list[Element] = []  # cards of the first page, which is written last

    def add(self, rows: Sequence[Row]) -> None:
        """Add the lines of an item."""
        for row in rows:
            if len(self._cards) == PAGE:
                self._turn(more=True)
            shown = self._shown.find(row.id, row.part)
            if shown is not None and shown.map is not None and row.status == "done":
                self._means.add(row.target, row.method, shown.map)
                self._aspect[row.target] = self._aspect[""] = row.aspect
            root = "./" if self._number == 1 else "../"
            place = (self._number - 1) * PAGE + len(self._cards)
            self._cards.append(card(row, shown, place, root))
            self._index.add(row)
        self.tally.add(rows)

    def _turn(self, *, more: bool) -> None:
        """Write the page that is being filled, and begin another one."""
        if self._number == 1:
            self._first = self._cards
        else:
            self._write_page(more)
        self._number, self._cards = self._number + 1, []

    def _write_page(self, more: bool) -> None:
        begin = (self._number - 1) * PAGE
        title = f"{self._model}: {begin + 1:,} to {begin + len(self._cards):,}"
        before = page_name(self._number - 1) if self._number > 2 else f"../{FIRST}"
        links = [(f"../{FIRST}", "Overview"), (before, "Previous page")]
        links += [(page_name(self._number + 1), "Next page")] if more else []
        body = [element("h1", title), _links(links), *_views(), _gallery(self._cards), _links(links)]
        main = element("main", *body, data_token=self._token)
        html = document(title, _ours("overview.css"), [main], script=_ours("page.js"))
        write_whole(self._folder / FOLDER / page_name(self._number), html.encode("utf-8"))

    def finish(self, settings: Mapping[str, Any], resume: str) -> None:
        """Write the last page, and the first."""
        self._turn(more=False)
        pages = self._number - 1
        means = [(mean, self._aspect[mean.target]) for mean in self._means.commonest(SHOWN)]
        main = element(
            "main",
            _header(self._model, self.tally),
            *summary(self.tally, self._index, means),
            element("h2", "The pictures", id="pictures"),
            filters(self._index),
            *_views(),
            element("ol", class_="gallery", id="found", hidden=""),
            element("button", "Show more", type="button", id="more", hidden=""),
            _gallery(self._first),
            _jumps(pages),
            audit(self.tally, settings, resume),
        )
        index = element("div", self._index.to_json(PAGE, self._token), id="index", hidden="")
        title = f"What {self._model} looked at"
        html = document(title, _ours("overview.css"), [main, index], script=_ours("overview.js"), frames=SAME)
        write_whole(self._folder / FIRST, html.encode("utf-8"))
        _remove_further(self._folder / FOLDER, pages)


def page_name(number: int) -> str:
    """The file of a page from the second on, in the side files' folder."""
    return f"{number:04}.html"


def _ours(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


def _header(model: str, tally: Tally) -> Element:
    pictures = many(tally.items, PICTURES)
    told = f"{tally.statuses['done']:,} of {pictures} {'is' if tally.items == 1 else 'are'} explained."
    more = (
        f" There are {many(tally.lines, CARDS)} below, one for each class and method of a picture: "
        "the filter counts cards."
        if tally.lines != tally.items
        else ""
    )
    return element(
        "header",
        element("h1", f"What {model} looked at in {pictures}"),
        element("p", told + more, class_="lead"),
    )


def _views() -> list[Child]:
    """What chooses between picture and map, which the style does without any script."""
    made: list[Child] = []
    for name, told in VIEWS:
        checked = "" if name == "both" else None
        made += [
            element("input", type="radio", name="view", id=f"view-{name}", class_="view", checked=checked),
            element("label", told, for_=f"view-{name}"),
        ]
    return made


def _gallery(cards: Sequence[Element]) -> Element:
    return element("ol", *cards, class_="gallery", id="page")


def _links(links: Sequence[tuple[str, str]]) -> Element:
    return element("nav", *(element("a", told, href=to) for to, told in links), aria_label="Pages")


def _jumps(pages: int) -> Element | None:
    """Links to the pages; of very many to some."""
    if pages < 2:
        return None
    step = max(1, pages // 50)
    numbers = sorted({2, *range(step, pages, step), pages} - {0, 1})
    return _links([(f"{FOLDER}/{page_name(number)}", f"Page {number}") for number in numbers])


def _remove_further(folder: Path, pages: int) -> None:
    """Remove what an earlier overview of more pages left."""
    try:
        for path in _further(folder):
            if int(path.stem) > pages:
                path.unlink()
    except OSError as error:
        raise OutputError(f"a page in {folder} cannot be removed: {reason(error)}") from error


def _further(folder: Path) -> list[Path]:
    """The pages from the second on that a folder has."""
    return [path for path in folder.glob("[0-9]*.html") if path.stem.isdecimal()]
