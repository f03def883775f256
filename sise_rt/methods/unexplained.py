"""Why a method finds nothing for a target: the class is not there, or the model is too sure to be asked."""

from __future__ import annotations

from sise_rt.wording import probability

from .query import SCORES, Nothing, Query

SURE = 0.99  # a confidence in, or against, a class whose probability may be too near to 1, or 0, to move
UNMOVED = "The model may not look at the picture, or its outputs may be saturated"
TOGETHER = ", or may rise and fall together, which a softmax does not show"
SATURATED = "The model is so sure that its probabilities are saturated"


def undecided(query: Query, score: float, scores: str | None = None) -> Nothing:
    """That all masks score alike, so that a map shows the masks and not the model.

    Args:
        query: what was asked.
        score: of them all.
        scores: of `SCORES`, what the method was asked to take; None where it has no choice.
    """
    activation = query.engine.manifest.activation
    unmoved = UNMOVED + (TOGETHER if activation == "softmax" else "")
    if activation == "none" or scores == SCORES[1]:
        return Nothing("no mask changes the score", f"it is {score:.4g} under each", unmoved)
    why = f"it is {probability(score)} under each, and the same to the last digits"
    if score == 0:
        why = "the model gives no masked copy any confidence"
    if 1 - SURE < score < SURE:
        return Nothing("no mask changes the confidence", why, unmoved)
    cause = f"{SATURATED}, or they are rounded" if score == 0 else SATURATED
    if scores is None:
        return Nothing("no mask changes the confidence", why, f"{cause}: sise can score the log-odds")
    advice = f"{cause}: scoring the log-odds may tell more"
    return Nothing("no mask changes the confidence", why, advice, ("scores",))


def unseen(query: Query, target: int, what: str = "no feature map speaks", why: str = "") -> Nothing:
    """That no gradient speaks for a target: it may not be there, or the head may be saturated.

    Args:
        query: what was asked.
        target: class index.
        what: does not speak for it.
        why: if that is known.
    """
    confidence = query.confidence(target)
    if query.engine.manifest.activation == "none" or confidence < SURE:
        return Nothing(what, why)
    advice = (
        f"The model is sure of it all the same ({probability(confidence)}): its head may be saturated, with "
        "a gradient of 0; score-cam and rise need none"
    )
    return Nothing(what, why, advice)
