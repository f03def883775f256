"""Items, what can become of them, and the one loop: the next is read and the last written beside the work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from sise_rt.answering import Explained
from sise_rt.errors import (
    BundleError,
    MethodError,
    NoEvidence,
    OutOfMemory,
    ProviderError,
    SiseError,
    Unwritable,
)
from sise_rt.explanation import Explanation, Prediction
from sise_rt.pictures.picture import Picture

DONE, NO_EVIDENCE, FAILED, SKIPPED = "done", "no evidence", "failed", "skipped"
STATUSES = (DONE, NO_EVIDENCE, FAILED, SKIPPED)
"""What can become of an item, and of each of its explanations."""

FATAL = (BundleError, MethodError, ProviderError, Unwritable)
"""Errors that are no item's fault: the next one would fail too, so they end the run."""


@dataclass(frozen=True, slots=True)  # of which there may be a million
class Item:
    """A picture of a run.

    Attributes:
        id: unique in the run: the path below its root, with `/`, or what a list calls it.
        picture: a path, or what `Explainer.prepare` takes besides: bytes, or an array (H, W, 3) in RGB.
        stem: where its results lie below the output folder, without target and ending: `cam1/0001`.
        targets: class indices or labels; None explains what the run explains.
        truth: the class that is in the picture, as an index or a label, where that is known.
        columns: what a list says of it besides, carried through.
        problem: why it cannot be explained, where that is known before it is read.
    """

    id: str
    picture: Path | bytes | np.ndarray
    stem: str
    targets: tuple[int | str, ...] | None = None
    truth: int | str | None = None
    columns: Mapping[str, object] = field(default_factory=dict)
    problem: SiseError | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of an item.

    Attributes:
        item: the one.
        picture: as it was prepared; None where it could not be.
        explained: by the label of each method an explanation a target, or why there is none; empty where
            nothing was explained.
        error: why it failed.
        reason: why it was skipped.
        prediction: of an item that was skipped, what the model says of it; None where it was not asked.
        unchecked: why the model could not be asked about a map.
        stopped: whether the caller ended it, so that an explanation may be less than it would have been.
    """

    item: Item
    picture: Picture | None = None
    explained: Explained = field(default_factory=dict)
    error: SiseError | None = None
    reason: str | None = None
    prediction: Prediction | None = None
    unchecked: tuple[SiseError, ...] = ()
    stopped: bool = False

    @property
    def parts(self) -> list[tuple[str, Explanation | NoEvidence]]:
        """Its explanations, each with the label of its method: method by method, each target by target."""
        return [(label, part) for label, parts in self.explained.items() for part in parts]

    @property
    def status(self) -> str:
        """One of `STATUSES`: of several explanations one is enough for `done`."""
        if self.error is not None:
            return FAILED
        if self.reason is not None:
            return SKIPPED
        found = any(isinstance(part, Explanation) for _, part in self.parts)
        return DONE if found else NO_EVIDENCE


Given = TypeVar("Given")
Ready = TypeVar("Ready")
Result = TypeVar("Result")

CatchUp = Callable[[], None]


def overlapped(
    items: Iterable[Given],
    prepare: Callable[[Given], Ready],
    work: Callable[[Given, Callable[[], Ready], CatchUp], Callable[[], Result]],
    tell: Callable[[Given, Result | SiseError], None],
) -> None:
    """Take items through preparing, work and finishing; a thread beside prepares and finishes.

    While an item is worked on, at most one is prepared ahead of it and at most one behind it is finished, so
    that three are in memory whatever their number.

    Args:
        items: taken one ahead of the work.
        prepare: run in the thread beside, in the order of the items.
        work: run here; takes the item, a function that gives what was prepared or raises what that raised,
            and one to call now and then, which tells what was finished meanwhile. Gives what is left to do,
            which is run in the thread beside.
        tell: run here, once an item, in the order of the items; takes the item, and the result of what was
            left to do or the error that preparing, work or finishing raised. What it raises ends all.

    Raises:
        SiseError: one of `FATAL`. What was worked on before is finished and told all the same.
        BaseException: what `tell` raised, an interrupt of the work, or an error that nobody expected;
            likewise.
    """
    behind: deque[tuple[Given, Future[Result]]] = deque()

    def catch_up(left: int = 1) -> None:
        """Tell what is finished, and wait until no more than `left` items are not."""
        while behind and (len(behind) > left or behind[0][1].done()):
            item, finished = behind.popleft()
            result = _told(finished)
            tell(item, result)

    with ThreadPoolExecutor(1) as beside:
        ahead = ((item, beside.submit(prepare, item)) for item in items)
        following = next(ahead, None)
        try:
            while following is not None:
                item, prepared = following
                wait([prepared])  # or a second one would be read ahead
                following = next(ahead, None)
                try:
                    finish = work(item, prepared.result, catch_up)
                except Exception as error:
                    behind.append((item, _failed(error)))
                else:
                    behind.append((item, beside.submit(finish)))
                catch_up()
        finally:
            catch_up(0)


def _told(finished: Future[Result]) -> Result | SiseError:
    """The result, or why this item has none."""
    try:
        return finished.result()
    except Exception as error:
        return failure_of(error)


def failure_of(error: Exception) -> SiseError:
    """Why an item has no result; raises what is not this item's fault."""
    if isinstance(error, SiseError) and not isinstance(error, FATAL):
        return error
    if isinstance(error, MemoryError):
        return OutOfMemory("out of memory", settings=("batch_size", "memory"))
    raise error


def _failed(error: Exception) -> Future:
    """What is told of an item whose work failed."""
    future: Future = Future()
    future.set_exception(error)
    return future
