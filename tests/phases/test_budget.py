"""SISE with fewer passes than masks: what is scored, what is predicted, and what ends it early."""

import itertools
import time

import numpy as np
import pytest

import sise_rt
from sise_rt.errors import MethodError
from sise_rt.phases.budget import EVERY, FIRST, STEP, PartialScoring, cell_weights
from sise_rt.phases.features import extract
from sise_rt.phases.masks import constant_maps
from sise_rt.phases.scoring import MaskedScoring, mask_shapes
from sise_rt.phases.surrogate import CELLS, pooled_masks
from sise_rt.running.batches import Batches

SIZE = (32, 32)
TARGETS = np.array([1, 4])


@pytest.fixture(scope="module")
def explainer(small_bundle) -> sise_rt.Explainer:
    return sise_rt.load(small_bundle, "cpu")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (48, 40, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(8).standard_normal((1, 3, *SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def features(explainer, image):
    return extract(explainer.engine, image, TARGETS)


@pytest.fixture
def made(explainer, image, features):
    """All maps that are not flat, none scored yet."""
    scoring = MaskedScoring(explainer.engine.scorer(image, TARGETS), features.maps, Batches([4]))
    chosen = [np.flatnonzero(~constant_maps(maps)) for maps in features.maps]
    return scoring, chosen, PartialScoring(scoring, features.maps, chosen, features.alphas, SIZE)


def test_steps_grow_and_nothing_is_scored_twice(made):
    scoring, chosen, partial = made
    done = []
    found = list(partial.score(20, done.append))
    assert sum(done) == 20
    known = [scoring.so_far(b, index) for b, index in enumerate(chosen)]
    assert sum(len(k.index) for k in known if k is not None) == 20
    assert found == [FIRST, 20]
    scores = partial.scores()
    assert [len(s.index) for s in scores] == [len(index) for index in chosen]
    assert all(np.isfinite(s.confidences).all() for s in scores)


def test_what_is_scored_is_given_as_the_model_says_it(made, explainer, image, features):
    scoring, chosen, partial = made
    list(partial.score(15, lambda _: None))
    last = partial.scores()
    scorer = explainer.engine.scorer(image, TARGETS)
    for b, scores in enumerate(last):
        known = scoring.so_far(b, chosen[b])
        if known is None:
            continue
        rows = np.searchsorted(chosen[b], known.index)
        truth = scorer(features.maps[b][known.index])
        np.testing.assert_allclose(scores.confidences[rows], truth[0], rtol=1e-5)
        for column, values in zip(scores.columns()[2:], truth[1:], strict=True):
            np.testing.assert_allclose(column[rows], values, rtol=1e-5)
    assert [s.confidences.dtype for s in last] == [np.float32] * len(last)


def test_the_first_masks_are_spread(made, features):
    """Every fourth mask by gradient score, the others by the distance to the nearest before."""
    scoring, chosen, _ = made
    alphas = [a[:1] for a in features.alphas]
    partial = PartialScoring(scoring, features.maps, chosen, alphas, SIZE)
    places, points = [], []
    for b, index in enumerate(chosen):
        above = [(alphas[b][0, index] > alphas[b][0, k]).sum() for k in index]
        places += [(p + 0.5) / len(index) for p in above]
        weights = np.sqrt(cell_weights(features.maps, alphas))
        points += list(pooled_masks(features.maps[b][index]) * weights)
    order: list[int] = []
    for place in range(FIRST):
        left = [k for k in range(len(points)) if k not in order]
        if place % EVERY == 0:
            order.append(min(left, key=lambda k: places[k]))
        else:
            order.append(max(left, key=lambda k: min(((points[k] - points[j]) ** 2).sum() for j in order)))
    next(partial.score(len(points), lambda _: None))
    assert partial._scored.tolist() == sorted(order)


def test_then_come_those_that_weigh_most_by_the_prediction(made):
    """Of a block's visualization map, sum over masks of confidence / area times mask."""
    scoring, chosen, partial = made
    steps = partial.score(sum(map(len, chosen)), lambda _: None)
    next(steps)
    expected = []
    for b, scores in enumerate(partial.scores()):
        weights = scores.confidences.astype(np.float64) / scores.area[:, None]
        shares = (weights / weights.sum(axis=0)).max(axis=1)
        known = scoring.so_far(b, chosen[b])
        scored = [] if known is None else known.index
        expected += [(-share, b, k) for k, share in zip(chosen[b], shares, strict=True) if k not in scored]
    expected = {(b, k) for _, b, k in sorted(expected)[:STEP]}
    before = {b: set() if (s := scoring.so_far(b, chosen[b])) is None else set(s.index) for b in range(3)}
    next(steps)
    after = {b: set() if (s := scoring.so_far(b, chosen[b])) is None else set(s.index) for b in range(3)}
    assert {(b, k) for b in after for k in after[b] - before[b]} == expected


def test_a_target_without_any_gradient_leaves_the_order_to_the_others(made, features):
    scoring, chosen, _ = made
    alone = PartialScoring(scoring, features.maps, chosen, [a[:1] for a in features.alphas], SIZE)
    nothing = [np.stack([a[0], np.zeros_like(a[0])]) for a in features.alphas]
    beside = PartialScoring(scoring, features.maps, chosen, nothing, SIZE)
    assert np.array_equal(beside._next(1), alone._next(1))
    list(beside.score(sum(map(len, chosen)), lambda _: None))
    assert sorted(beside._scored) == list(range(sum(map(len, chosen)))), "every mask once"


@pytest.mark.parametrize(
    ("count", "steps"),
    [(5, [5]), (FIRST, [12]), (13, [12, 13]), (30, [12, 20, 28, 30]), (34, [12, 20, 28, 34])],
)
def test_steps(explainer, image, features, count, steps):
    chosen = [np.flatnonzero(~constant_maps(maps)) for maps in features.maps]
    scoring = MaskedScoring(explainer.engine.scorer(image, TARGETS), features.maps, Batches([4]))
    partial = PartialScoring(scoring, features.maps, chosen, features.alphas, SIZE)
    assert list(partial.score(count, lambda _: None)) == steps
    assert len(set(partial._scored.tolist())) == count


def test_more_masks_are_the_same_and_others(explainer, image, features):
    chosen = [np.flatnonzero(~constant_maps(maps)) for maps in features.maps]
    found = []
    for count in (FIRST - 2, FIRST, FIRST + 5, FIRST + STEP, sum(map(len, chosen))):
        scoring = MaskedScoring(explainer.engine.scorer(image, TARGETS), features.maps, Batches([4]))
        partial = PartialScoring(scoring, features.maps, chosen, features.alphas, SIZE)
        list(partial.score(count, lambda _: None))
        assert len(partial._scored) == count
        found.append(set(partial._scored.tolist()))
    assert all(fewer < more for fewer, more in itertools.pairwise(found))


def test_cells_weigh_what_the_last_two_blocks_look_at():
    rng = np.random.default_rng(0)
    maps = [rng.random((3, CELLS, CELLS), np.float32) for _ in range(3)]
    alphas = [rng.standard_normal((2, 3)).astype(np.float32) for _ in range(3)]
    looked = 0
    for b in (1, 2):
        for t in (0, 1):
            cam = np.abs(sum(alphas[b][t, k].astype(np.float64) * maps[b][k] for k in range(3)))
            looked = looked + cam / cam.mean()
    expected = 0.5 + 0.5 * looked / looked.mean()
    found = cell_weights(maps, alphas)
    assert np.allclose(found, expected.ravel(), rtol=1e-5)
    assert found.mean() == pytest.approx(1)
    assert cell_weights(maps, []).tolist() == [1] * CELLS * CELLS
    assert cell_weights(maps, [np.zeros((2, 3))] * 3).tolist() == [1] * CELLS * CELLS


def test_mask_shapes_are_those_of_the_score_graph(explainer, image, features):
    scorer = explainer.engine.scorer(image, TARGETS)
    for maps in features.maps:
        shaped = maps[~constant_maps(maps)]
        _, *expected = scorer(shaped)
        for found, truth in zip(mask_shapes(shaped, SIZE), expected, strict=True):
            np.testing.assert_allclose(found, truth, rtol=2e-5, atol=1e-6)
    assert [len(column) for column in mask_shapes(np.empty((0, 4, 4), np.float32), SIZE)] == [0, 0, 0]


def test_the_whole_budget_is_exact_sise(explainer, picture):
    exact = explainer.explain_targets(picture, [0, 1, 2], batch_size=4)
    running = []
    found = explainer.explain_targets(picture, [0, 1, 2], batch_size=4, preview=running.append)
    for seen, whole in zip(found, exact, strict=True):
        np.testing.assert_allclose(seen.raw, whole.raw, rtol=1e-4, atol=1e-6)
        assert seen.masks == whole.masks
        assert not seen.partial
    assert explainer.explain_targets(picture, [0, 1, 2], batch_size=4, budget=1)[0].masks == exact[0].masks
    assert [map_.shape for map_ in running[0]] == [SIZE] * 3
    assert all(map_ is None or map_.shape == SIZE for maps in running for map_ in maps)
    assert all(np.array_equal(map_, seen.map) for map_, seen in zip(running[-1], found, strict=True))
    assert len(running) > 1


@pytest.mark.parametrize(
    ("limit", "masks"),
    [
        ({"budget": 0.25}, 0.25),
        ({"budget": 1e-12}, 1),
        ({"max_passes": 8}, 7),
        ({"budget": 0.5, "max_passes": 4}, 3),
    ],
)
def test_limits_are_kept(explainer, picture, limit, masks):
    exact = explainer.explain(picture, 1, batch_size=4)
    found = explainer.explain(picture, 1, batch_size=4, **limit)
    assert found.masks == (int(np.ceil(masks * exact.masks)) if masks < 1 else masks)
    assert found.passes == found.masks + 1
    assert np.isfinite(found.raw).all()
    assert [b.kept for b in found.blocks] == [b.kept for b in exact.blocks]
    again = explainer.explain(picture, 1, batch_size=4, **limit)
    assert np.array_equal(again.raw, found.raw), "no choice is random"
    assert found.record()["partial"] is False
    assert "surrogate" in found.seconds


def test_neighbours_do_not_lend_their_scores(explainer, picture):
    alone = explainer.explain(picture, 1, batch_size=4, budget=0.2)
    beside = explainer.explain_methods(picture, [1], ["sise", "sise:budget=0.2"], batch_size=4)
    np.testing.assert_allclose(beside["sise:budget=0.2"][0].raw, alone.raw, rtol=1e-5)
    assert beside["sise:budget=0.2"][0].masks == alone.masks


def test_the_time_ends_the_scoring(explainer, picture, monkeypatch):
    real = sise_rt.running.engine.Scorer.__call__

    def slow(scorer, maps, most):
        time.sleep(0.01)
        return real(scorer, maps, most)

    monkeypatch.setattr(sise_rt.running.engine.Scorer, "__call__", slow)
    whole = explainer.explain(picture, 1, batch_size=1)
    found = explainer.explain(picture, 1, batch_size=1, max_seconds=1e-6)
    assert found.masks == 1
    assert found.partial
    assert found.record()["guessed"] == whole.masks - 1
    assert whole.guessed == 0
    assert np.isfinite(found.raw).all()
    assert f"the time was over after 1 of {whole.masks} masks; the rest is predicted" in found.warnings
    enough = explainer.explain(picture, 1, batch_size=1, max_seconds=1e6)
    assert (enough.masks, enough.warnings) == (whole.masks, whole.warnings)
    np.testing.assert_allclose(enough.raw, whole.raw, rtol=1e-4, atol=1e-6)


def test_a_stop_at_the_last_batch_stops_nothing(explainer, picture):
    def progress(scored, total):
        if scored == total:
            raise sise_rt.Stop

    for options in ({}, {"budget": 0.4}):
        found = explainer.explain(picture, 1, batch_size=4, progress=progress, **options)
        assert not found.partial
        whole = explainer.explain(picture, 1, batch_size=4, **options)
        assert found.warnings == whole.warnings
        assert np.allclose(found.raw, whole.raw, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("preview", [None, lambda _: None], ids=["block by block", "step by step"])
@pytest.mark.parametrize("after", [1, 10, 10**6])
def test_the_caller_stops_it_and_gets_what_was_found(explainer, picture, after, preview):
    def progress(scored, total):
        assert scored <= total
        if scored >= after:
            raise sise_rt.Stop

    exact = explainer.explain_targets(picture, [0, 1], batch_size=3)
    found = explainer.explain_targets(picture, [0, 1], batch_size=3, progress=progress, preview=preview)
    for one, whole in zip(found, exact, strict=True):
        assert one.partial is (after < whole.masks)
        assert one.record()["partial"] is one.partial
        assert np.isfinite(one.raw).all()
        if one.partial:
            assert after <= one.masks < after + 3
            assert f"stopped after {one.masks} of {whole.masks} masks; the rest is predicted" in one.warnings
        else:
            assert np.allclose(one.raw, whole.raw, rtol=1e-4, atol=1e-6)


def test_a_preview_may_stop_it(explainer, picture):
    def stop(maps):
        assert len(maps) == 3
        raise sise_rt.Stop

    for found in explainer.explain_targets(picture, [0, 1, 2], batch_size=4, preview=stop):
        assert found.partial
        assert found.masks == FIRST


def test_a_preview_of_a_method_that_has_none(explainer, picture):
    with pytest.raises(MethodError, match="grad-cam has no map to show before its end"):
        explainer.explain(picture, 1, method="grad-cam", preview=lambda _: pytest.fail("shown"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0.0}, "budget is 0.0, where 0 < budget <= 1"),
        ({"budget": 1.5}, "budget is 1.5"),
        ({"budget": float("nan")}, "budget is nan"),
        ({"max_passes": -1}, "max_passes is -1, where 0 <= max_passes is needed"),
        ({"max_passes": 1}, "max_passes 1 leaves none for masks: the features alone take 1"),
        ({"max_seconds": -1.0}, "max_seconds is -1.0"),
        ({"max_seconds": float("inf")}, "max_seconds is inf"),
        ({"max_seconds": float("nan")}, "max_seconds is nan"),
    ],
)
def test_limits_that_are_none(explainer, picture, options, message):
    with pytest.raises(MethodError, match=message):
        explainer.explain(picture, 1, **options)
