"""Log-odds of masked copies against the confidences that the score graph gives."""

import numpy as np

import sise_rt
from sise_rt.phases.surrogate import log_odds
from sise_rt.running.engine import Scorer
from sise_rt.running.log_odds_scorer import LogOddsScorer


def test_it_scores_as_the_score_graph(small_bundle):
    engine = sise_rt.load(small_bundle, "cpu").engine
    rng = np.random.default_rng(4)
    image = rng.standard_normal((1, 3, 32, 32)).astype(np.float32)
    maps, targets = rng.standard_normal((6, 8, 8)).astype(np.float32), np.array([3, 0])
    odds, *shapes = LogOddsScorer(engine, image, targets)(maps)
    confidences, *expected = Scorer(engine, image, targets)(maps)
    assert odds.shape == (6, 2)
    np.testing.assert_allclose(odds, log_odds(confidences), atol=1e-3)
    for one, other in zip(shapes, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
