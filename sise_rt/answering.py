"""One picture and its targets through one method or several: what they share is worked out once."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import SupportsIndex

import numpy as np

from . import __version__
from .cautions import Caution
from .errors import ArgumentError, MethodError, NoEvidence
from .explanation import Explanation, Prediction
from .manifest import PIXELS
from .methods import Answer, Call, Clock, Finding, Preview, Progress, Query, Request
from .metrics import border_share
from .metrics.border import EVEN, WIDTH
from .phases.features import extract, extract_best
from .phases.fusion import normalise
from .pictures.picture import Picture
from .records import Provenance
from .running.engine import Engine
from .running.finite import require_finite
from .running.logits import confidences
from .running.provider import BF16
from .running.runtime import runtime_version
from .targets import resolve_target
from .wording import probability

BEST = 5  # classes that are told of beside the target
UNSURE = 0.1  # a highest confidence; chosen on photos with right and wrong scales, see docs/records.md
MOST_AT_BORDER = 0.35  # of a map; chosen on photos and steel, see docs/records.md

Explained = dict[str, list[Explanation | NoEvidence]]
"""By the label of each method, one explanation a target, or the reason why there is none."""


def _refuse_arguments(
    requests: Sequence[Request],
    targets: Sequence[int | str] | None,
    top_k: int,
    batch_size: int | None,
    progress: Progress | None,
    preview: Preview | None,
) -> None:
    """Refuse arguments of a call that cannot be, before any work.

    Raises:
        ArgumentError: one is out of its range.
        MethodError: a preview is asked of methods that have none.
    """
    if batch_size is not None and not _is_positive(batch_size):
        raise ArgumentError(f"a batch has at least 1 image, not {batch_size!r}", settings=("batch_size",))
    if not _is_positive(top_k):
        raise ArgumentError(f"at least 1 class is explained, not {top_k!r}", settings=("top_k",))
    for name, callback in (("progress", progress), ("preview", preview)):
        if callback is not None and not callable(callback):
            raise ArgumentError(
                f"{name} is called while it runs, and {callback!r} cannot be", settings=(name,)
            )
    if isinstance(targets, (str, int)):
        raise ArgumentError(f"targets is a list, not {targets!r}", settings=("targets",))
    if targets is not None and len(targets) == 0:
        raise ArgumentError("targets is empty; None explains the classes with the highest confidence")
    if preview is not None and not any(asked.method.blocks for asked in requests):
        names = ", ".join(map(str, requests))
        raise MethodError(f"{names} has no map to show before its end", settings=("preview",))


def _is_positive(number: object) -> bool:
    return isinstance(number, SupportsIndex) and not isinstance(number, bool) and operator.index(number) > 0


def explain_picture(
    engine: Engine,
    read: Callable[[], Picture],
    targets: Sequence[int | str] | None,
    requests: Sequence[Request],
    *,
    top_k: int,
    batch_size: int | None,
    progress: Progress | None,
    preview: Preview | None = None,
) -> Explained:
    """Explain the targets of a picture by every method that is asked for.

    Args:
        engine: runs the bundle.
        read: gives the picture, prepared; called once the other arguments are known to be possible.
        targets: class indices or labels; None explains the `top_k` classes with the highest confidence.
        requests: with labels that differ.
        top_k: at least 1.
        batch_size: as for `Call`, as are the others.
        progress: likewise.
        preview: likewise.

    Raises:
        SiseError: as `Explainer.explain` does.
    """
    _refuse_arguments(requests, targets, top_k, batch_size, progress, preview)
    for asked in requests:
        asked.check(engine.manifest)
    picture, named = read(), () if targets is None else targets
    order = np.array([resolve_target(target, engine.manifest) for target in named], np.int64)
    clock, features, logits = Clock(), None, np.empty(0)
    clock.add("preprocess", picture.seconds)
    # Whatever its neighbours are, a method costs what it would alone: features tell the confidence.
    with_features, without = clock, clock.copy()
    if not all(asked.method.features for asked in requests):
        with without("prediction"):
            logits = predict(engine, picture.tensor)
    if any(asked.method.features for asked in requests):
        with with_features("features"):
            if targets is None:
                order, features = extract_best(engine, picture.tensor, top_k)
            else:
                features = extract(engine, picture.tensor, order)
        logits = features.logits
    elif targets is None:
        order = np.argsort(-logits, kind="stable")[:top_k]
    query = Query(engine, picture, order, logits)
    call = Call(query, features, batch_size=batch_size, progress=progress, preview=preview)
    notes = [] if targets is not None or top_k <= len(order) else [_all_explained(top_k, len(order))]
    explained: Explained = {}
    for asked in requests:
        clock = (with_features if asked.method.features else without).copy()
        answers = zip(order.tolist(), _answers(asked, query, call, clock), strict=True)
        explained[asked.label] = [
            answer if isinstance(answer, NoEvidence) else _explanation(asked, query, target, answer, notes)
            for target, answer in answers
        ]
    return explained


def _all_explained(asked: int, classes: int) -> Caution:
    text = f"{asked} classes were asked for, and the model has {classes}: all of them are explained"
    return Caution("all-classes", text)


def predict(engine: Engine, image: np.ndarray) -> np.ndarray:
    """The logits (classes,) of an image (1, C, H, W).

    By the features graph where an older bundle has no other.

    Raises:
        ModelError: the model cannot be run, or its logits are not finite.
    """
    if not engine.manifest.graphs.forward:
        return extract(engine, image, np.zeros(1, np.int64)).logits
    logits = engine.forward(image)[0]
    require_finite("logits", "for this image", logits)
    return logits


def _answers(asked: Request, query: Query, call: Call, clock: Clock) -> list[Answer]:
    """What a method finds, with what the call found out about batches."""
    if asked.method.graph:
        with clock("loading"):
            query.engine.require(asked.method.graph)
    try:
        answers = asked.method.run(query, call, clock, **asked.settings)
    except MethodError as error:
        raise MethodError(f"{asked}: {error.message}", settings=error.settings) from error
    return [
        answer
        if isinstance(answer, NoEvidence)
        else replace(answer, warnings=(*call.notes(), *answer.warnings))
        for answer in answers
    ]


def _explanation(
    asked: Request, query: Query, target: int, finding: Finding, notes: Sequence[Caution]
) -> Explanation:
    """What is told of a finding, and `notes` on the call."""
    engine, manifest, logits = query.engine, query.engine.manifest, query.logits
    trust = confidences(logits, manifest.activation)
    best = np.argsort(-logits, kind="stable")[:BEST]  # where confidences are all but 1, logits still differ
    precision = engine.sessions.precision_of(finding.graph)
    warnings = [Caution("bundle", text) for text in manifest.warnings]
    warnings += [*engine.warnings, *query.picture.notes, *notes, *finding.warnings]
    if precision == BF16:
        warnings += engine.unproven
    elif engine.sessions.precision == BF16:
        text = "bfloat16 is for masks that are weighed by confidences: this was computed in float32"
        warnings.append(Caution("bfloat16-unused", text))
    map_ = normalise(finding.raw)
    if map_ is None:
        warnings.append(Caution("map-constant", "the map is constant: the explanation is all zero"))
        map_ = np.zeros_like(finding.raw)
    if (share := border_share(map_)) > MOST_AT_BORDER:
        warnings.append(Caution("map-at-border", _at_border(share)))
    if manifest.activation == "softmax" and trust.max() < UNSURE and manifest.assumes(*PIXELS):
        warnings.append(Caution("sure-of-nothing", _sure_of_nothing(trust.max())))
    return Explanation(
        map=map_.astype(np.float32),
        raw=finding.raw,
        blocks=finding.blocks,
        target=target,
        label=manifest.label(target),
        confidence=float(trust[target]),
        activation=manifest.activation,
        assumed=tuple(manifest.assumed),
        best=tuple(Prediction(i, manifest.label(i), float(trust[i])) for i in best.tolist()),
        method=asked.method.name,
        settings=dict(asked.settings),
        masks=finding.masks,
        passes=finding.passes + (0 if asked.method.features else 1),  # and one for the confidence
        seconds=dict(finding.seconds),
        shared_seconds=dict(finding.shared_seconds),
        provider=engine.provider,
        provider_version=engine.sessions.provider.version,
        device=engine.sessions.provider.device,
        precision=precision,
        tf32=engine.tf32,
        batch=finding.batch,
        warnings=tuple(warnings),
        partial=finding.partial,
        guessed=finding.guessed,
        name=query.picture.name,
        model=manifest.name,
        placement=query.picture.placement,
        bit_depth=query.picture.bit_depth,
        picture=query.picture,
        provenance=_provenance(query),
    )


def _sure_of_nothing(highest: float) -> str:
    return (
        f"the model is sure of nothing here (its highest confidence is {probability(highest)}), and its "
        "preprocessing was assumed: labelled pictures tell whether that is right"
    )


def _at_border(share: float) -> str:
    return (
        f"{share:.0%} of the map lies within the outer {WIDTH:.0%} of the picture, where an even map has "
        f"{EVEN:.0%}: the network may answer to its own padding there"
    )


def _provenance(query: Query) -> Provenance:
    engine, manifest = query.engine, query.engine.manifest
    return Provenance(
        version=__version__,
        onnxruntime=runtime_version(),
        threads=engine.threads,
        bundle_sha256=engine.sessions.bundle_sha256,
        described=manifest.described,
        amended=manifest.amended_settings,
        source=manifest.source,
        preprocess=manifest.preprocess,
        picture=query.picture.fingerprint,
        time=datetime.now(UTC),
    )
