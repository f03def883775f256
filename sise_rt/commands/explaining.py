"""The pictures of `sise-rt explain`: the next one is read and the last one drawn and saved meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click

from sise_rt import Explainer, Stop
from sise_rt.answering import Explained
from sise_rt.bulk.items import CatchUp, overlapped
from sise_rt.errors import ImageError, MethodError, NoEvidence, SiseError, Unwritable
from sise_rt.pictures.picture import Picture
from sise_rt.wording import counted

from .command import spelt
from .console import complain
from .interrupt import Interrupt
from .progress import Progress, clear_line, duration
from .results import Wanted, Written, checked, write_results


def explain_pictures(
    explainer: Explainer,
    images: Sequence[Path],
    wanted: Wanted,
    prepare: Callable[[Path], Picture],
    answers: Callable[..., Explained],
    hint: str = "",
) -> int:
    """Explain pictures, and write and print what was found; gives how many have something missing.

    Args:
        explainer: of the bundle.
        images: paths.
        wanted: what is written and printed.
        prepare: reads a picture.
        answers: explains one; takes `progress` besides.
        hint: at what takes less time, for where it takes long.

    Raises:
        KeyboardInterrupt: somebody asked for it; what was explained until then is written.
        SiseError: not a picture's fault: the next one would fail too.
        click.UsageError: likewise, of a method.
    """
    progress = Progress(len(images), hidden=wanted.quiet or wanted.as_json, foretell=partial(foretold, hint))
    pictures = _Pictures(explainer, wanted, answers, progress)
    try:
        overlapped(images, prepare, pictures.explain, pictures.tell)
    except MethodError as error:
        raise click.UsageError(spelt(error)) from error
    if pictures.interrupt.asked:
        raise KeyboardInterrupt
    return pictures.failed


def foretold(hint: str, masks: int, pictures: int, seconds: float) -> str:
    """What is said where many masks are to be scored, and nobody sees how far it is."""
    each = f"{counted(pictures, 'picture')}, each with" if pictures > 1 else ""
    what = " ".join(filter(None, (each, counted(masks, "masked copy", "masked copies"), "to be scored")))
    return f"note: {what}, about {duration(seconds)} left{hint and f'; {hint}'}"


class _Pictures:
    """What is done with each picture, and how many failed."""

    def __init__(
        self, explainer: Explainer, wanted: Wanted, answers: Callable[..., Explained], progress: Progress
    ):
        self.failed, self.interrupt = 0, Interrupt()
        self._explainer, self._wanted, self._answers = explainer, wanted, answers
        self._progress = progress

    def explain(
        self, image: Path, prepared: Callable[[], Picture], catch_up: CatchUp
    ) -> Callable[[], Written]:
        """Explain a picture; gives what draws and writes the explanations."""
        if self.interrupt.asked:
            raise KeyboardInterrupt
        wanted, written = self._wanted, Written()
        with self.interrupt.taken():
            with self._progress.of(image.name) as show:
                progress = self.interrupt.progress(show)

                def tick(scored: int, total: int) -> None:
                    catch_up()
                    progress(scored, total)

                picture = prepared()
                try:
                    explained = self._answers(picture, progress=tick)
                except Stop:  # of a method that has nothing to show before its end
                    raise KeyboardInterrupt from None
            if wanted.check or (wanted.report and self._explainer.manifest.activation != "none"):
                explained = checked(self._explainer, picture, explained, wanted, written)
        return partial(_written, picture, explained, wanted, written, self.interrupt.asked)

    def tell(self, image: Path, result: Written | SiseError) -> None:
        """Print what was written of a picture, and what went wrong with it."""
        written = Written(failure=result) if isinstance(result, SiseError) else result
        clear_line()
        for message in written.messages:
            message()
        problems = [where + spelt(why) for where, why in written.problems]
        if written.failure is not None:
            problems.append(_problem_of(image, written.failure))
        for problem in problems:
            complain(problem)
        self.failed += bool(problems)


def _problem_of(image: Path, failure: SiseError) -> str:
    """What a failure says of a picture, a line."""
    if isinstance(failure, ImageError | NoEvidence):  # which name the picture
        return spelt(failure)
    return f"{image}: {spelt(failure)}"


def _written(
    picture: Picture, explained: Explained, wanted: Wanted, written: Written, stopped: bool
) -> Written:
    """Write a picture's explanations; what was written before an error is told as well."""
    try:
        write_results(picture, explained, wanted, written, stopped=stopped)
    except Unwritable:
        raise
    except SiseError as error:
        written.failure = error
    return written
