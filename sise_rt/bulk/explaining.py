"""Items through the model: the explanations of each, or why it has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from sise_rt.answering import Explained, predict
from sise_rt.errors import ModelError, NoEvidence, SiseError, TargetError
from sise_rt.explainer import Explainer
from sise_rt.explanation import Explanation, Prediction
from sise_rt.methods import Progress, Request
from sise_rt.methods.query import Stop
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.reading import MAX_PIXELS
from sise_rt.running.engine import Engine
from sise_rt.running.logits import confidences
from sise_rt.targets import resolve_target
from sise_rt.wording import probability

from .items import CatchUp, Item, Outcome, failure_of, overlapped

Kept = TypeVar("Kept")

Check = Callable[[Engine, Explanation, Picture], Explanation]
Watch = Callable[[Item], AbstractContextManager[Progress | None]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of every item.

    Attributes:
        requests: methods, with labels that differ.
        targets: class indices, of items that name none themselves; None explains the best classes.
        top_k: how many of these.
        two: whether two classes are compared, so that an item has to name two, or none.
        batch_size: images per forward pass; None finds the fastest.
        bit_depth: of pictures that are stored in 16 bits; None takes what each file or the model says.
        max_pixels: larger pictures are refused.
        only_wrong: whether items are skipped of which the model predicts the class that they have, and those
            of which that is not known.
        below: items are skipped where the model is as sure of its prediction, or surer; None skips none.
        check: asks the model about a map; None does not.
    """

    requests: Sequence[Request]
    targets: Sequence[int] | None = None
    top_k: int = 1
    two: bool = False
    batch_size: int | None = None
    bit_depth: int | None = None
    max_pixels: int = MAX_PIXELS
    only_wrong: bool = False
    below: float | None = None
    check: Check | None = None


def explain_items(
    explainer: Explainer,
    items: Iterable[Item],
    asked: Asked,
    keep: Callable[[Outcome], Kept],
    tell: Callable[[Item, Kept], None],
    watch: Watch = lambda _: nullcontext(),
) -> None:
    """Explain items one after the other: the next one is read and the last one kept meanwhile.

    Args:
        explainer: of the bundle.
        items: taken one ahead.
        asked: what is asked of each.
        keep: takes what came of an item, in a thread beside, in the order of the items; draws it and writes
            it, say. Where it raises what is the item's fault, it is called once more, with that.
        tell: takes an item, and what `keep` gave, in the order of the items.
        watch: gives a context in which an item is explained, and what is told of its progress.

    Raises:
        SiseError: one of `FATAL`; what was explained before is kept and told.
        Stop: of a method that has nothing to show before its end.
    """

    def prepare(item: Item) -> Picture:
        if item.problem is not None:
            raise item.problem
        name = None if isinstance(item.picture, Path) else item.id
        return explainer.prepare(
            item.picture, bit_depth=asked.bit_depth, max_pixels=asked.max_pixels, name=name
        )

    def work(item: Item, prepared: Callable[[], Picture], catch_up: CatchUp) -> Callable[[], Kept]:
        with watch(item) as progress:

            def tick(done: int, steps: int) -> None:
                catch_up()
                if progress is not None:
                    progress(done, steps)

            try:
                outcome = outcome_of(explainer, item, prepared(), asked, tick)
            except Exception as error:
                outcome = Outcome(item, error=failure_of(error))
        return partial(kept, outcome)

    def kept(outcome: Outcome) -> Kept:
        try:
            return keep(outcome)
        except Exception as error:
            return keep(Outcome(outcome.item, error=failure_of(error)))

    def told(item: Item, result: Kept | SiseError) -> None:
        if isinstance(result, SiseError):  # not even that it failed can be kept
            raise result
        tell(item, result)

    overlapped(items, prepare, work, told)


def outcome_of(
    explainer: Explainer, item: Item, picture: Picture, asked: Asked, progress: Progress | None = None
) -> Outcome:
    """What comes of an item whose picture is prepared.

    Raises:
        SiseError: it cannot be explained.
    """
    truth = _truth(explainer, item)
    if asked.only_wrong and truth is None:  # whatever the model says of it: it is not asked
        return Outcome(item, picture, reason="its class is not known")
    if asked.only_wrong or asked.below is not None:
        prediction = _prediction(explainer, picture)
        reason = _not_asked_for(truth, asked, prediction)
        if reason is not None:
            return Outcome(item, picture, reason=reason, prediction=prediction)
    targets = _targets(explainer, item, asked)
    stopped = False

    def tick(done: int, steps: int) -> None:
        nonlocal stopped
        try:
            if progress is not None:
                progress(done, steps)
        except Stop:
            stopped = True
            raise

    explained = explainer.explain_methods(
        picture,
        targets,
        asked.requests,
        top_k=asked.top_k,
        batch_size=asked.batch_size,
        progress=tick,
    )
    outcome = Outcome(item, picture, explained, stopped=stopped)
    return outcome if asked.check is None else _checked(explainer, picture, outcome, asked.check)


def _targets(explainer: Explainer, item: Item, asked: Asked) -> Sequence[int] | None:
    """The classes of an item, each once; None where they are the best ones."""
    if item.targets is None:
        return asked.targets
    targets = list(dict.fromkeys(resolve_target(target, explainer.manifest) for target in item.targets))
    if asked.two and len(targets) != 2:
        raise TargetError(f"two classes are compared, and it names {len(targets)}")
    return targets


def _truth(explainer: Explainer, item: Item) -> int | None:
    """The class that is in the picture: one that the model does not have would count as its mistake."""
    if item.truth is None:
        return None
    try:
        return resolve_target(item.truth, explainer.manifest)
    except TargetError as error:
        said = error.message.replace("target", "truth", 1)
        raise TargetError(f"{said}; leave it empty where it is unknown") from error


def _prediction(explainer: Explainer, picture: Picture) -> Prediction:
    logits = predict(explainer.engine, picture.tensor)
    best = int(np.argmax(logits))
    trust = confidences(logits, explainer.manifest.activation)
    return Prediction(best, explainer.manifest.label(best), float(trust[best]))


def _not_asked_for(truth: int | None, asked: Asked, said: Prediction) -> str | None:
    """Why an item is skipped; None of one that is not."""
    if asked.only_wrong and truth == said.index:
        return f"the model is right: {said.label}"
    if asked.below is not None and said.confidence >= asked.below:
        sure = probability(said.confidence)
        return f"the model is sure enough: {said.label}, {sure}"
    return None


def _checked(explainer: Explainer, picture: Picture, outcome: Outcome, check: Check) -> Outcome:
    """The explanations with what the model says of their maps; where it says nothing the map is there."""
    problems: list[SiseError] = []

    def one(part: Explanation | NoEvidence) -> Explanation | NoEvidence:
        if isinstance(part, NoEvidence):
            return part
        try:
            return check(explainer.engine, part, picture)
        except ModelError as error:
            problems.append(error)
            return part

    explained: Explained = {label: list(map(one, parts)) for label, parts in outcome.explained.items()}
    return replace(outcome, explained=explained, unchecked=tuple(problems))
