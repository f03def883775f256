"""When an alternative is clearly better: it is found, and accidents are not."""

import numpy as np
import pytest

from sise_rt.evaluation.clearly import FEWEST, LEVEL, clearly_better, evidence

PICTURES, COLUMNS = 12, 9


def drawn(rng, shift=0.0, column=4, pictures=PICTURES):
    """Evidence, rightness and confidence of pictures by columns that differ by noise, and one by a shift."""
    own = rng.normal(-1.5, 1, (pictures, 1)) + rng.normal(0, 0.6, (pictures, COLUMNS))
    own[:, column] += shift
    own = np.minimum(own, 0)
    return own, own > np.log(0.3), np.exp(own)


def test_what_is_better_is_found():
    clear = clearly_better(*drawn(np.random.default_rng(1), 1.5))
    assert (clear.column, clear.pictures) == (4, PICTURES)
    assert clear.right[1] > clear.right[0]
    assert clear.own[1] > clear.own[0]
    assert 0 < clear.chance <= LEVEL


def test_accidents_are_not():
    """Of columns that differ by noise alone one is best; it is called clear as seldom as the level says."""
    alarms = sum(clearly_better(*drawn(np.random.default_rng(seed))) is not None for seed in range(300))
    assert alarms <= 8  # more than that has a probability of 0.4 % at a rate of 1 %


@pytest.mark.parametrize("pictures", [FEWEST - 1, 0])
def test_too_few_pictures(pictures):
    better = drawn(np.random.default_rng(1), 3, pictures=pictures)
    assert clearly_better(*better) is None
    assert clearly_better(*drawn(np.random.default_rng(1), 3, pictures=2 * FEWEST)) is not None


def test_more_pictures_have_to_be_right():
    own, right, confidence = drawn(np.random.default_rng(1), 1.5)
    right[:, 4] = right[:, 0]
    assert clearly_better(own, right, confidence) is None


def test_a_little_is_not_clear():
    """However many pictures agree."""
    own, right, confidence = drawn(np.random.default_rng(1), pictures=200)
    own[:] = own[:, :1]
    own[:, 4] = np.minimum(own[:, 0] + 0.05, 0)
    right[:3, 4] = ~right[:3, 0]
    assert clearly_better(own, right, confidence) is None


def test_one_picture_does_not_decide():
    own, right, confidence = drawn(np.random.default_rng(1))
    own[:], right[:] = own[:, :1], right[:, :1]
    own[0, 0], own[0, 4] = -np.inf, 0
    right[0, 0], right[0, 4] = False, True
    assert clearly_better(own, right, confidence) is None


def test_without_alternatives():
    own, right, confidence = drawn(np.random.default_rng(1))
    assert clearly_better(own[:, :1], right[:, :1], confidence[:, :1]) is None


def test_evidence_is_the_log_of_the_softmax():
    logits = np.random.default_rng(0).normal(0, 3, (4, 6)).astype(np.float32)
    softmax = np.exp(logits.astype(float))
    softmax /= softmax.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(evidence(logits, (2,)), np.log(softmax[:, 2]), rtol=1e-6)
    np.testing.assert_allclose(evidence(logits, (0, 5)), np.log(softmax[:, [0, 5]].sum(axis=1)), rtol=1e-6)
    assert np.isfinite(evidence(np.array([[0, 1e30]], np.float32), (0,))).all()
