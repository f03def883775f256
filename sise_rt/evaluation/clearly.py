"""Whether one of several alternatives is clearly better than what is stated, by few pictures or many.

Every picture is its own comparison. If an alternative were neither better nor worse, the sign of each
picture's difference would be an accident; so signs are flipped at random, a picture's with all alternatives
at once, and it is counted how often any of them comes out as well as the best one did (the single-step
max-T of Westfall and Young, 1993). Thus it costs nothing that the best one was picked by the same pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LEVEL = 0.01  # of a false alarm
FEWEST = 7  # pictures; of fewer, 2 ** -n is above the level
LEAST = 0.1  # of the mean of the evidence, in nats: the probability rises by a tenth
FLOOR = -7.0  # nats; how wrong a picture is beyond that says no more
FLIPS, SEED = 9999, 0


@dataclass(frozen=True)
class Clear:
    """How much better the best alternative is.

    Attributes:
        column: of the alternative.
        pictures: compared.
        right: (before, with it) the pictures that are right.
        own: (before, with it) the mean confidence in the picture's class.
        chance: the share of flips that came out as well.
    """

    column: int
    pictures: int
    right: tuple[int, int]
    own: tuple[float, float]
    chance: float


def evidence(logits: np.ndarray, classes: tuple[int, ...]) -> np.ndarray:
    """The log of the share of a softmax that some classes have, (N,) float64 of logits (N, classes).

    It is used for sigmoids as well, where it tells these classes from the others: a preprocessing that lifts
    every output is no better.
    """
    z = logits.astype(np.float64)
    z = z - z.max(axis=1, keepdims=True)
    return np.log(np.exp(z[:, classes]).sum(axis=1).clip(np.exp(2 * FLOOR))) - np.log(np.exp(z).sum(axis=1))


def clearly_better(evidence: np.ndarray, right: np.ndarray, own: np.ndarray) -> Clear | None:
    """The alternative that is clearly better than the first column; None where none is.

    It has the highest mean evidence, `LEAST` more than the first; more pictures are right by it; and chance
    explains it in less than `LEVEL`.

    Args:
        evidence: (pictures, 1 + alternatives).
        right: bool of that shape.
        own: of that shape, the confidence in the picture's class.
    """
    if len(evidence) < FEWEST or evidence.shape[1] < 2:
        return None
    difference = evidence.clip(FLOOR) - evidence[:, :1].clip(FLOOR)
    best = int(difference[:, 1:].mean(axis=0).argmax()) + 1
    before, after = int(right[:, 0].sum()), int(right[:, best].sum())
    if difference[:, best].mean() < LEAST or after <= before:
        return None
    length = np.sqrt(np.square(difference).sum(axis=0))
    scaled = np.divide(difference, length, out=np.zeros_like(difference), where=length > 0)
    signs = np.random.default_rng(SEED).choice((-1.0, 1.0), (FLIPS, len(scaled)))
    as_good = (signs @ scaled).max(axis=1) >= scaled[:, best].sum() - 1e-9  # rounding
    chance = (1 + int(as_good.sum())) / (1 + FLIPS)
    if chance > LEVEL:
        return None
    means = own[:, [0, best]].mean(axis=0)
    return Clear(best, len(evidence), (before, after), (float(means[0]), float(means[1])), chance)
