"""What `sise-rt explain` writes and prints of what was found."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sise_rt.errors import ModelError, NoEvidence, OutputError, SiseError
from sise_rt.files import make_folder
from sise_rt.saving import COMPARE_SUFFIX, METHODS_SUFFIX, base_name, other_settings, refuse_foreign_files
from sise_rt.wording import reason

from .console import say, say_json, summary

if TYPE_CHECKING:
    import numpy as np

    from sise_rt import Explainer, Explanation
    from sise_rt.answering import Explained
    from sise_rt.pictures.picture import Picture

    from .drawing_options import Drawing


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is written and printed of an explanation.

    Attributes:
        out: folder of the files.
        named: whether the files' names have the method.
        check: whether the model is asked about the map.
        blocks: whether there is a strip of the blocks.
        report: whether there is a page.
        drawing: how explanations are drawn.
        as_json: whether records are printed, and nothing else.
        quiet: whether nothing is printed.
    """

    out: Path
    named: bool
    check: bool
    blocks: bool
    report: bool
    drawing: Drawing
    as_json: bool
    quiet: bool


@dataclass
class Written:
    """What came of a picture.

    Attributes:
        messages: functions that print what was written, in their order.
        problems: what is missing: where, and why.
        failure: what ended it.
    """

    messages: list[Callable[[], None]] = field(default_factory=list)
    problems: list[tuple[str, SiseError]] = field(default_factory=list)
    failure: SiseError | None = None


def checked(
    explainer: Explainer, picture: Picture, explained: Explained, wanted: Wanted, written: Written
) -> Explained:
    """The explanations with what the model says of their maps: all of it, or of the regions for a page."""
    from sise_rt.metrics.check import check, check_region

    ask, option = (check, "--check") if wanted.check else (check_region, "--report")

    def one(explanation: Explanation | NoEvidence) -> Explanation | NoEvidence:
        if isinstance(explanation, NoEvidence):
            return explanation
        try:
            return ask(explainer.engine, explanation, picture)
        except ModelError as error:  # the map is there all the same
            written.problems.append((f"{picture.name}: {option}: ", error))
            return explanation

    return {label: list(map(one, explanations)) for label, explanations in explained.items()}


def write_results(
    picture: Picture, explained: Explained, wanted: Wanted, written: Written, *, stopped: bool
) -> None:
    """Write the explanations of a picture, by method, and take note in `written` of what is to be said.

    `stopped` tells in the files' names that it is what an interrupt left: it does not take the place of a
    whole one.

    Raises:
        OutputError: a file cannot be written.
    """
    say_it = written.messages.append
    for label, explanations in explained.items():
        for explanation in explanations:
            if isinstance(explanation, NoEvidence):
                written.problems.append((f"{label}: " if len(explained) > 1 else "", explanation))
                continue
            parts = [label if wanted.named else "", "partial" if stopped and explanation.partial else ""]
            label_of_files = ".".join(filter(None, parts))
            base = base_name(Path(explanation.name).stem, explanation.target, label_of_files)
            replaced = other_settings(wanted.out, base, explanation.record()["settings"])
            strip = wanted.blocks and bool(explanation.blocks)
            files = explanation.save(
                wanted.out,
                picture,
                label=label_of_files,
                blocks=strip,
                report=wanted.report,
                draw=wanted.drawing.draw,
            )
            if replaced and not wanted.quiet:
                note = f"note: {files[0]} replaces an earlier result with {', '.join(replaced)}"
                say_it(partial(say, note, err=True))
            if wanted.as_json:
                say_it(partial(say_json, explanation.record() | {"files": list(map(str, files))}))
            elif not wanted.quiet:
                say_it(partial(say, *summary(explanation, files[0])))
    if wanted.drawing.compare is not None:
        for file in _compared(explained, wanted, wanted.drawing.compare):
            if not (wanted.as_json or wanted.quiet):
                say_it(partial(say, f"compared: {file}"))
    if len(explained) > 1:
        for file in _side_by_side(explained, picture, wanted.out):
            if not (wanted.as_json or wanted.quiet):
                say_it(partial(say, f"side by side: {file}"))


def _compared(
    explained: Explained, wanted: Wanted, compare: Callable[[Explanation, Explanation], np.ndarray]
) -> list[Path]:
    """Write what speaks for the one target and the other, of each method: `<stem>.<a>.<b>.compare.png`."""
    from sise_rt.drawing.png import save_png

    files = []
    for label, (first, second) in explained.items():
        if isinstance(first, NoEvidence) or isinstance(second, NoEvidence):
            continue  # which is told already
        both = f"{second.target}.{label}" if wanted.named else str(second.target)
        base = base_name(Path(first.name).stem, first.target, both)
        files.append(wanted.out / f"{base}{COMPARE_SUFFIX}")
        save_png(files[-1], compare(first, second))
    return files


def _side_by_side(explained: Explained, picture: Picture, folder: Path) -> list[Path]:
    """Write one strip a target with the maps of all methods: `<stem>.<target>.methods.png`."""
    from sise_rt.comparing import side_by_side
    from sise_rt.drawing.png import save_png

    files = []
    for explanations in zip(*explained.values(), strict=True):
        shown = {
            label: None if isinstance(e, NoEvidence) else e
            for label, e in zip(explained, explanations, strict=True)
        }
        first = next((e for e in shown.values() if e is not None), None)
        if first is not None:
            files.append(folder / f"{base_name(Path(first.name).stem, first.target)}{METHODS_SUFFIX}")
            save_png(files[-1], side_by_side(shown, picture))
    return files


def prepare_folder(folder: Path, images: Sequence[Path], targets: Iterable[int]) -> None:
    """Find out before the work, not after it, whether results can be written, and what they would replace.

    Raises:
        OutputError: the folder cannot be written, or holds something else that a result may be called like.
    """
    make_folder(folder, settings=("out",))
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"folder {str(folder)!r} cannot be written: {reason(error)}: name another one", settings=("out",)
        ) from error
    refuse_foreign_files(folder, images, targets)
