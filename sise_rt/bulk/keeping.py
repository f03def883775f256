"""What came of an item in files: those of each explanation, and the drawings of several together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sise_rt.comparing import side_by_side
from sise_rt.drawing.png import save_png
from sise_rt.errors import NoEvidence
from sise_rt.explanation import Explanation
from sise_rt.files import make_folder
from sise_rt.foreign import refuse_foreign
from sise_rt.naming import COMPARE_SUFFIX, METHODS_SUFFIX, base_name
from sise_rt.saving import Draw, Protect, write_explanation

from .items import Outcome

Compare = Callable[[Explanation, Explanation], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Keep:
    """What is kept of explanations.

    Attributes:
        folder: of the files.
        outputs: some of `sise_rt.saving.OUTPUTS`.
        named: whether the names of files have the method.
        map_size: pixels of the short side of a map that is written; None writes it as it is.
        draw: makes the picture to show.
        compare: draws two explanations of one picture together; None where that is not wanted.
        protect: raises where a file has to stay, as `refuse_foreign` does.
    """

    folder: Path
    outputs: frozenset[str]
    named: bool
    map_size: int | None
    draw: Draw
    compare: Compare | None = None
    protect: Protect = refuse_foreign


@dataclass(frozen=True)
class Written:
    """The files of an item.

    Attributes:
        parts: of each of the outcome's parts those that were written: picture, map, record, strip, page.
        compared: drawings of two targets.
        beside: drawings of several methods.
    """

    parts: list[list[Path]] = field(default_factory=list)
    compared: list[Path] = field(default_factory=list)
    beside: list[Path] = field(default_factory=list)

    def below(self, folder: Path) -> list[list[str]]:
        """The same as paths below a folder, with `/`: drawings are the first part's."""
        names = [[file.relative_to(folder).as_posix() for file in files] for files in self.parts]
        together = [file.relative_to(folder).as_posix() for file in (*self.compared, *self.beside)]
        if together:
            next((part for part in names if part), names[0]).extend(together)
        return names


def write_files(outcome: Outcome, keep: Keep) -> Written:
    """Write what is kept of an item.

    What an interrupt left of an explanation has `partial` in its name: it does not take the place of a whole
    one.

    Raises:
        OutputError: a file cannot be written.
    """
    parts = [
        [] if isinstance(part, NoEvidence) else _saved(outcome, asked, part, keep)
        for asked, part in outcome.parts
    ]
    compared = [] if keep.compare is None else list(_compared(outcome, keep, keep.compare))
    beside = list(_beside(outcome, keep.folder)) if len(outcome.explained) > 1 else []
    return Written(parts, compared, beside)


def base_of(outcome: Outcome, asked: str, part: Explanation, keep: Keep) -> str:
    """What the files of a part are called, below the folder and without their endings."""
    return base_name(outcome.item.stem, part.target, _label(outcome, asked, part, keep))


def _label(outcome: Outcome, asked: str, part: Explanation, keep: Keep) -> str:
    unfinished = outcome.stopped and part.partial
    return ".".join(filter(None, (asked if keep.named else "", "partial" if unfinished else "")))


def _saved(outcome: Outcome, asked: str, part: Explanation, keep: Keep) -> list[Path]:
    return write_explanation(
        part,
        keep.folder,
        None,
        outcome.item.stem,
        label=_label(outcome, asked, part, keep),
        outputs=keep.outputs,
        map_size=keep.map_size,
        draw=keep.draw,
        protect=keep.protect,
    )


def _compared(outcome: Outcome, keep: Keep, compare: Compare) -> Iterator[Path]:
    """Write what speaks for the one target and the other, of each method: `<stem>.<a>.<b>.compare.png`."""
    for asked, (first, second) in outcome.explained.items():
        if isinstance(first, NoEvidence) or isinstance(second, NoEvidence):
            continue  # which is told already
        both = f"{second.target}.{asked}" if keep.named else str(second.target)
        base = base_name(outcome.item.stem, first.target, both)
        yield _drawn(keep.folder / f"{base}{COMPARE_SUFFIX}", compare(first, second))


def _beside(outcome: Outcome, folder: Path) -> Iterator[Path]:
    """Write one strip a target with the maps of all methods: `<stem>.<target>.methods.png`."""
    for explanations in zip(*outcome.explained.values(), strict=True):
        shown = {
            asked: None if isinstance(part, NoEvidence) else part
            for asked, part in zip(outcome.explained, explanations, strict=True)
        }
        first = next((part for part in shown.values() if part is not None), None)
        if first is not None:
            base = base_name(outcome.item.stem, first.target)
            yield _drawn(folder / f"{base}{METHODS_SUFFIX}", side_by_side(shown))


def _drawn(path: Path, pixels: np.ndarray) -> Path:
    make_folder(path.parent, settings=("out",))
    save_png(path, pixels)
    return path
