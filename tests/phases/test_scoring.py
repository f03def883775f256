"""Masked scoring and visualization maps, against full-size masks made one at a time."""

import time
from functools import partial

import numpy as np
import pytest

import sise_rt
from sise_rt.phases.features import extract
from sise_rt.phases.scoring import MaskedScoring, Scores, usable_maps, visualization_map
from sise_rt.running.batches import Batches
from sise_rt.running.log_odds_scorer import LogOddsScorer
from sise_rt.running.logits import confidences

SIZE = (32, 32)
TARGETS = np.array([1, 4])


@pytest.fixture(scope="module")
def explainer(small_bundle) -> sise_rt.Explainer:
    return sise_rt.load(small_bundle, "cpu")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(8).standard_normal((1, 3, *SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def full_size(explainer, image):
    """Each block's maps, and their masks at full size, made by torch."""
    torch = pytest.importorskip("torch")
    maps = extract(explainer.engine, image, TARGETS).maps
    found = []
    for block in maps:
        resized = torch.nn.functional.interpolate(
            torch.from_numpy(block).double()[:, None], SIZE, mode="bilinear", align_corners=False
        )[:, 0].numpy()
        found.append((block, resized))
    return found


def scored(explainer, image, maps, index, batch, done=lambda _: None) -> Scores:
    scorer = explainer.engine.scorer(image, TARGETS)
    return MaskedScoring(scorer, [maps], Batches([batch])).scores(0, index, done)


def test_a_mask_is_scored_once(explainer, image, full_size):
    (first, _), (second, _), _ = full_size
    scorer, start = explainer.engine.scorer(image, TARGETS), time.perf_counter()
    ran = []

    def counting(maps, most):
        ran.append(len(maps))
        return scorer(maps, most)

    counting.targets = len(TARGETS)
    scoring, done = MaskedScoring(counting, [first, second], Batches([4])), []
    some = scoring.scores(0, np.array([1, 3, 4, 6, 7]), done.append)
    assert (ran, done) == ([4, 1], [4, 1])
    again = scoring.scores(0, np.array([0, 3, 5, 6]), done.append)
    assert (ran, done) == ([4, 1, 2], [4, 1, 2, 2])
    scoring.scores(1, np.array([0, 3]), done.append)
    assert ran == [4, 1, 2, 2]
    assert scoring.seconds(9) == pytest.approx(9 * scoring.seconds(1))
    assert 0 < scoring.seconds(9) <= time.perf_counter() - start  # nine were scored
    for found, index in ((some, [1, 3, 4, 6, 7]), (again, [0, 3, 5, 6])):
        alone = scored(explainer, image, first, np.array(index), 4)
        for one, other in zip(found.columns(), alone.columns(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.parametrize("score", ["scorer", "log-odds"])
def test_blocks_share_batches_and_each_mask_scores_as_alone(explainer, image, full_size, score):
    maps, ran = [block for block, _ in full_size], []
    make = explainer.engine.scorer if score == "scorer" else partial(LogOddsScorer, explainer.engine)
    scorer = make(image, TARGETS)

    def counting(maps, most):
        ran.append(maps.shape)
        return scorer(maps, most)

    counting.targets, counting.size = len(TARGETS), scorer.size
    usable = [np.flatnonzero(np.ptp(resized, axis=(1, 2)) > 1e-3) for _, resized in full_size]
    chosen = [(0, usable[0][:5]), (1, usable[1][:3]), (2, usable[2][:2])]
    together, done = MaskedScoring(counting, maps, Batches([4])), []
    together.scores(1, chosen[1][1][1:2], done.append)
    together.score(chosen, done.append)
    small = maps[0].shape[1:]
    # One was scored before; a batch of one block is of that block's size, any other of the input's.
    assert ran == [(1, *maps[1].shape[1:]), (4, *small), (4, *SIZE), (1, *maps[2].shape[1:])]
    assert done == [1, 1, 4, 4, 1]
    for block, index in chosen:
        alone = MaskedScoring(scorer, maps, Batches([1])).scores(block, index, done.append)
        found = together.so_far(block, index)
        assert np.array_equal(found.index, index)
        for one, other in zip(found.columns()[1:], alone.columns()[1:], strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("block", [0, 1, 2])
@pytest.mark.parametrize("batch", [1, 5])
def test_scores_are_those_of_the_masked_image(explainer, image, full_size, block, batch):
    maps, resized = full_size[block]
    index = np.flatnonzero(np.ptp(resized, axis=(1, 2)) > 1e-3)[1::2]
    done = []
    scores = scored(explainer, image, maps, index, batch, done.append)
    assert done == [min(batch, len(index) - start) for start in range(0, len(index), batch)]
    for row, k in enumerate(index):
        low, high = resized[k].min(), resized[k].max()
        mask = (resized[k] - low) / (high - low)
        masked = (image * mask).astype(np.float32)
        *_, logits = explainer.engine.features(masked, TARGETS[:1])
        assert scores.confidences[row] == pytest.approx(confidences(logits[0], "softmax")[TARGETS], rel=1e-5)
        assert scores.minimum[row] == pytest.approx(low, abs=1e-6)
        assert scores.maximum[row] == pytest.approx(high, rel=1e-6)
        assert scores.area[row] == pytest.approx(mask.sum(), rel=1e-5)


@pytest.mark.parametrize("block", [0, 1, 2])
@pytest.mark.parametrize("column", [0, 1])
def test_the_sum_at_the_blocks_resolution_is_the_mean_of_full_size_masks(
    explainer, image, full_size, block, column
):
    maps, resized = full_size[block]
    shaped = np.flatnonzero(np.ptp(resized, axis=(1, 2)) > 1e-3)
    scores = scored(explainer, image, maps, shaped, 4)
    selected = np.zeros(len(maps), bool)
    selected[shaped[::2]] = True
    expected = np.zeros(SIZE)
    for k in shaped[::2]:
        mask = (resized[k] - resized[k].min()) / np.ptp(resized[k])
        psi = float(scores.confidences[list(shaped).index(k), column])
        expected += psi * mask / mask.sum() / len(shaped[::2])
    usable = usable_maps(selected, scores)
    assert np.array_equal(usable, selected)
    found = visualization_map(maps, scores, column, usable, SIZE)
    assert found.dtype == np.float64
    assert np.abs(found - expected).max() < 2e-6 * expected.max()


def made_scores(index, low, high) -> Scores:
    count = len(index)
    return Scores(
        np.array(index), np.full((count, 1), 0.5), np.array(low), np.array(high), np.full(count, 3.0)
    )


def test_maps_that_are_flat_at_full_size_are_left_out():
    scores = made_scores([0, 2, 3], [0.0, 5.0, 0.0], [1.0, 5.0, 2.0])
    selected = np.array([True, True, True, False])
    assert usable_maps(selected, scores).tolist() == [True, False, False, False]
    assert not usable_maps(selected, None).any()


def test_no_usable_map_gives_none():
    scores = made_scores([0, 1], [0.0, 0.0], [1.0, 1.0])
    maps = np.random.default_rng(0).random((2, 4, 4), np.float32)
    assert visualization_map(maps, scores, 0, np.zeros(2, bool), SIZE) is None


def test_the_order_of_the_index_does_not_matter():
    maps = np.random.default_rng(0).random((2, 4, 4), np.float32)
    low, high = maps.min((1, 2)), maps.max((1, 2))
    forward, backward = made_scores([0, 1], low, high), made_scores([1, 0], low[::-1], high[::-1])
    all_of_them = np.ones(2, bool)
    found = [visualization_map(maps, scores, 0, all_of_them, SIZE) for scores in (forward, backward)]
    assert np.allclose(*found, rtol=1e-12)
