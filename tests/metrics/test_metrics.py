"""Metrics: numbers made by hand, loops written from the definitions, closed forms, and Quantus."""

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter

from sise_rt.errors import ArgumentError
from sise_rt.metrics import (
    bbox,
    blurred,
    deletion,
    drop,
    ebpg,
    increase,
    insertion,
    kept_pixels,
    masked_confidence,
    miou,
    pointing_game,
)

LOCAL = pytest.mark.parametrize("metric", [ebpg, miou, bbox, pointing_game])
CURVES = pytest.mark.parametrize("curve", [deletion, insertion])
SEEDS = pytest.mark.parametrize("seed", range(6))
SIZE = (9, 14)

MAPS = pytest.mark.parametrize(
    "make",
    [
        lambda rng: rng.standard_normal(SIZE),
        lambda rng: rng.integers(-2, 4, SIZE) / 4,
        lambda rng: np.where(rng.random(SIZE) < 0.06, rng.random(SIZE), 0.0),  # as hard fusion gives
    ],
    ids=["distinct", "tied", "nearly all zero"],
)

HAND = np.array([[0.5, 0.2, -1.0], [0.2, 0.9, 0.2]])
TRUTH = np.array([[False, True, True], [True, False, True]])


# ---- the definitions as loops ----


def ranked(map_):
    """(value, row, column) of each pixel: the highest first, of equal ones the first in row-major order."""
    return sorted(
        ((float(map_[y, x]), y, x) for y in range(map_.shape[0]) for x in range(map_.shape[1])),
        key=lambda pixel: (-pixel[0], pixel[1], pixel[2]),
    )


def ebpg_loop(map_, truth):
    inside = total = 0.0
    for value, y, x in ranked(map_):
        if value > 0:
            total += value
            inside += value if truth[y, x] else 0.0
    return inside / total if total else math.nan


def miou_loop(map_, truth, share):
    top = {(y, x) for _, y, x in ranked(map_)[: round(share * map_.size)]}
    marked = {(int(y), int(x)) for y, x in np.argwhere(truth)}
    return len(top & marked) / len(top | marked)


def bbox_loop(map_, truth):
    area = sum(bool(t) for t in truth.flat)
    return sum(bool(truth[y, x]) for _, y, x in ranked(map_)[:area]) / area


def kept_loop(map_, share):
    threshold = ranked(map_)[int(share * map_.size)][0]
    return np.array([[value > threshold for value in row] for row in map_.tolist()])


def curve_loop(map_, start, end, confidence, step):
    image, order, scores = start.copy(), ranked(map_), []
    for first in range(0, len(order) + step, step):
        scores.append(float(confidence(image[None])[0]))
        for _, y, x in order[first : first + step]:
            image[:, y, x] = end[:, y, x]
    return scores


# ---- agreement with a marked object ----


def test_agreement_by_hand():
    # Descending: (1,1), (0,0), then 0.2 at (0,1), (1,0), (1,2), then -1 at (0,2).
    assert ebpg(HAND, TRUTH) == pytest.approx(0.6 / 2.0)
    assert bbox(HAND, TRUTH) == 2 / 4  # of (1,1), (0,0), (0,1), (1,0)
    assert miou(HAND, TRUTH, 0.5) == 1 / 6  # of (1,1), (0,0), (0,1)
    assert miou(HAND, TRUTH) == 0  # round(1.2) = 1: (1,1)
    assert miou(HAND, TRUTH, 0.25) == miou(HAND, TRUTH, 2 / 6)  # round(1.5) = 2
    assert pointing_game(HAND, TRUTH) == pointing_game(HAND, TRUTH, 1) == 1
    assert pointing_game(HAND, TRUTH, 0.99) == 0


@SEEDS
@MAPS
def test_agreement_equals_the_loops(make, seed):
    rng = np.random.default_rng(seed)
    map_, truth = make(rng), rng.random(SIZE) < rng.uniform(0.05, 0.6)
    assert ebpg(map_, truth) == pytest.approx(ebpg_loop(map_, truth), rel=1e-12, nan_ok=True)
    assert bbox(map_, truth) == bbox_loop(map_, truth)
    for share in (0.2, 0.03, 0.5, 1.0):
        assert miou(map_, truth, share) == miou_loop(map_, truth, share)


@SEEDS
@MAPS
def test_pointing_is_scipys_distance_to_the_truth(make, seed):
    rng = np.random.default_rng(seed)
    map_, truth = make(rng), rng.random(SIZE) < 0.05
    truth[8, 13] = True
    _, y, x = ranked(map_)[0]
    distance = distance_transform_edt(~truth)[y, x]
    assert pointing_game(map_, truth, distance) == 1
    assert pointing_game(map_, truth, distance + 0.1) == 1
    if distance:
        assert pointing_game(map_, truth, distance - 0.01) == 0


def test_the_tolerance_is_15_pixels_and_euclidean():
    map_, truth = np.zeros((40, 40)), np.zeros((40, 40), bool)
    truth[20, 20] = True
    for offset, hit in (((9, 12), 1), ((15, 0), 1), ((10, 12), 0), ((16, 0), 0)):
        map_[:] = 0
        map_[20 - offset[0], 20 + offset[1]] = 1
        assert pointing_game(map_, truth) == hit


def test_a_perfect_map_and_its_inverse():
    rng = np.random.default_rng(2)
    truth = np.zeros((10, 10), bool)
    truth[2:6, 3:8] = True  # 20 of 100 pixels
    map_ = np.where(truth, rng.uniform(0.5, 1, truth.shape), 0)
    assert [metric(map_, truth) for metric in (ebpg, miou, bbox, pointing_game)] == [1, 1, 1, 1]
    inverse = np.where(truth, 0, rng.uniform(0.5, 1, truth.shape))
    assert [metric(inverse, truth) for metric in (ebpg, miou, bbox)] == [0, 0, 0]
    assert pointing_game(inverse, truth, 0) == 0


def test_a_constant_map_is_ranked_in_row_major_order():
    truth = np.zeros((10, 10), bool)
    truth[:1] = truth[7] = True
    flat = np.full((10, 10), 0.3)
    assert ebpg(flat, truth) == pytest.approx(0.2)
    assert miou(flat, truth) == 10 / 30  # rows 0 and 1 against rows 0 and 7
    assert bbox(flat, truth) == 0.5
    assert pointing_game(flat, truth, 0) == 1
    assert pointing_game(flat, ~truth, 0) == 0
    assert not kept_pixels(flat).any()


def test_only_ebpg_depends_on_the_maps_origin():
    rng = np.random.default_rng(5)
    map_, truth = rng.standard_normal(SIZE), rng.random(SIZE) < 0.3
    for metric in (miou, bbox, pointing_game):
        assert metric(map_, truth) == metric(np.exp(3 * map_) - 7, truth)
    assert ebpg(map_, truth) == pytest.approx(ebpg(1e3 * map_, truth), rel=1e-12)
    assert ebpg(map_ - map_.min(), truth) != pytest.approx(ebpg(map_, truth), rel=1e-2)
    assert np.array_equal(kept_pixels(map_), kept_pixels(np.exp(3 * map_) - 7))


@pytest.mark.parametrize("scale", [1.5e308, 5e-324, 1e-320])
def test_extreme_maps_neither_overflow_nor_vanish(scale):
    truth = np.eye(4, dtype=bool)
    assert ebpg(np.full((4, 4), scale), truth) == 0.25


@LOCAL
def test_an_empty_truth_is_undefined(metric):
    assert math.isnan(metric(HAND, np.zeros_like(TRUTH)))


@pytest.mark.parametrize("map_", [np.zeros((2, 3)), -np.ones((2, 3)), np.full((2, 3), -0.0)])
def test_ebpg_without_positive_energy_is_undefined(map_):
    assert math.isnan(ebpg(map_, TRUTH))


@LOCAL
def test_any_kind_of_map_is_taken_and_left_alone(metric):
    rng = np.random.default_rng(3)
    truth = rng.random(SIZE) < 0.3
    levels = rng.integers(0, 255, SIZE)
    expected = metric(levels.astype(float), truth)
    assert isinstance(expected, float)
    for kind in (np.uint8, np.int64, np.float16, np.float32):
        map_ = levels.astype(kind)
        before = map_.copy()
        assert metric(map_, truth) == expected
        assert np.array_equal(map_, before)
    assert metric(np.asfortranarray(levels), np.asfortranarray(truth)) == expected
    assert metric(levels.tolist(), truth) == expected


# ---- the confidence on what the map keeps ----


def test_kept_pixels_by_hand():
    map_ = np.arange(20.0).reshape(4, 5)
    assert np.array_equal(kept_pixels(map_), map_ > 16)  # the value at index int(0.15 * 20) = 3
    map_[map_ > 10] = 7
    assert kept_pixels(map_).mean() == 0.15  # 10 9 8 [7] 7
    map_[map_ == 9] = 8
    map_[map_ == 7] = 8
    assert np.array_equal(kept_pixels(map_), map_ == 10)  # 10 8 8 [8] 8: fewer than three
    assert not kept_pixels(HAND).any()  # int(0.15 * 6) = 0: nothing is above the maximum


@SEEDS
@MAPS
@pytest.mark.parametrize("share", [0.15, 0.001, 0.5, 0.999])
def test_kept_pixels_equal_the_loop(make, seed, share):
    map_ = make(np.random.default_rng(seed))
    kept = kept_pixels(map_, share)
    assert kept.dtype == bool
    assert np.array_equal(kept, kept_loop(map_, share))


def test_masked_confidence_by_hand():
    image = np.array([[[1, 2], [3, 4]], [[8, 4], [2, 1]]], np.float32)
    masks = np.array([[[1, 1], [1, 1]], [[0, 0], [0, 0]], [[1, 0], [0, 1]], [[0.5, 0.25], [0, 0]]])
    seen = []

    def confidence(images):
        seen.append((images.dtype, len(images)))
        weighted = images[:, 0] + 2 * images[:, 1]
        images[:] = 7  # a batch is the callable's own
        return weighted.sum(axis=(1, 2), dtype=np.float64) / 40

    scores = masked_confidence(image, masks, confidence, batch=3)
    assert scores.tolist() == [1, 0, 23 / 40, 11 / 40]  # (1 + 16 + 4 + 2), (8.5 + 2.5)
    assert seen == [(np.float32, 3), (np.float32, 1)]
    assert masked_confidence(image, masks[2:3] > 0, confidence).tolist() == [23 / 40]
    assert masked_confidence(image, masks[:0], confidence).shape == (0,)


def test_drop_and_increase_by_hand():
    whole, masked = np.array([0.8, 0.5, 0.5, 0.4, 0.0, 0.0]), np.array([0.2, 0.5, 0.9, 0.0, 0.0, 0.3])
    np.testing.assert_allclose(drop(whole, masked), [0.75, 0, 0, 1, np.nan, np.nan])
    assert increase(whole, masked).tolist() == [0, 0, 1, 0, 0, 1]
    assert float(drop(0.8, 0.2)) == pytest.approx(0.75)
    assert float(increase(0.2, 0.8)) == 1
    assert drop(np.full((2, 3), 0.5), np.zeros((2, 3))).shape == (2, 3)
    assert drop([1 + 5e-7], [-5e-7]).tolist() == [1]  # a float32 softmax's rounding
    assert drop([5e-324], [0.0]).tolist() == [1]


# ---- curves ----


def mean_of(image):
    """A linear confidence that is 1 on `image`: each pixel adds its share."""
    total = image.sum(dtype=np.float64)
    return lambda images: images.sum(axis=(1, 2, 3), dtype=np.float64) / total


@pytest.mark.parametrize("size", [(4, 5), (7, 7)])
def test_deletion_of_a_linear_model_has_a_closed_form(size):
    n = math.prod(size)
    image = np.random.default_rng(1).permutation(np.arange(1, n + 1)).reshape(1, *size).astype(np.float32)
    perfect = deletion(image[0], image, mean_of(image), step=1)
    # The pixel of rank r adds 2(n - r) / n(n + 1) until it goes, for (r + 1/2) / n of the width.
    assert perfect.auc == pytest.approx((2 * n + 1) / (6 * n), rel=1e-12)
    assert deletion(-image[0], image, mean_of(image), step=1).auc == pytest.approx((4 * n - 1) / (6 * n))
    assert perfect.share.tolist() == (np.arange(n + 1) / n).tolist()
    assert (perfect.confidence[0], perfect.confidence[-1]) == (1, 0)


@pytest.mark.parametrize("step", [1, 3, 4, 12, 224])
def test_an_even_image_gives_half_where_the_steps_are_even(step):
    image = np.ones((3, 4, 6), np.float32)
    curve = deletion(np.random.default_rng(4).random((4, 6)), image, mean_of(image), step=step)
    np.testing.assert_allclose(curve.confidence, 1 - curve.share, atol=1e-12)
    assert curve.auc == pytest.approx(0.5, abs=1e-12)


def test_a_short_last_step_is_as_wide_as_the_others():
    image = np.ones((1, 2, 5), np.float32)
    curve = deletion(np.ones((2, 5)), image, mean_of(image), step=4)
    assert curve.share.tolist() == [0, 0.4, 0.8, 1]
    np.testing.assert_allclose(curve.confidence, [1, 0.6, 0.2, 0], atol=1e-12)
    assert curve.auc == pytest.approx((0.5 + 0.6 + 0.2) / 3)


@pytest.mark.parametrize(("rank", "step"), [(0, 1), (100, 1), (440, 1), (17, 5), (440, 50)])
def test_a_model_that_sees_one_pixel_has_a_closed_form(rank, step):
    image = np.zeros((2, 21, 21), np.float32)
    image[1, 10, 10] = 0.75
    map_ = np.insert(-np.delete(np.arange(441.0), rank), 220, -rank).reshape(
        21, 21
    )  # the pixel comes at `rank`
    centre = (1 / sum(math.exp(-(x**2) / 50) for x in range(-5, 6))) ** 2
    steps = math.ceil(441 / step)
    before = (rank // step + 0.5) / steps
    sees = lambda images: images[:, 1, 10, 10]  # noqa: E731
    assert deletion(map_, image, sees, step=step).auc == pytest.approx(0.75 * before, rel=1e-6)
    expected = 0.75 * (centre * before + 1 - before)
    assert insertion(map_, image, sees, step=step).auc == pytest.approx(expected, rel=1e-6)


@SEEDS
@MAPS
@pytest.mark.parametrize("step", [1, 10, 126, 1000])
def test_curves_equal_the_loop(make, seed, step):
    rng = np.random.default_rng(seed)
    map_, image = make(rng), rng.standard_normal((3, *SIZE)).astype(np.float32)
    weights = rng.standard_normal((3, *SIZE))
    confidence = lambda images: 0.5 + 0.5 * np.tanh((images * weights).sum(axis=(1, 2, 3)) / 10)  # noqa: E731
    for curve, start, end in (
        (deletion, image, np.zeros_like(image)),
        (insertion, blurred(image), image),
    ):
        got, scores = (
            curve(map_, image, confidence, step=step),
            curve_loop(map_, start, end, confidence, step),
        )
        np.testing.assert_allclose(got.confidence, scores, rtol=1e-12)
        area = sum((a + b) / 2 for a, b in pairwise(scores)) / (len(scores) - 1)
        assert got.auc == pytest.approx(area, rel=1e-12)
        assert got.confidence.dtype == got.share.dtype == np.float64


@CURVES
@pytest.mark.parametrize("batch", [1, 4, 5, 32])
def test_batches_are_bounded_and_change_nothing(curve, batch):
    rng = np.random.default_rng(6)
    map_, image = rng.random(SIZE), rng.random((3, *SIZE)).astype(np.float32)
    sizes, before = [], image.copy()

    def confidence(images):
        assert images.dtype == np.float32
        assert images.shape[1:] == image.shape
        sizes.append(len(images))
        means = images.mean(axis=(1, 2, 3), dtype=np.float64)
        images[:] = np.nan
        return means

    got = curve(map_, image, confidence, step=13, batch=batch)  # ten steps of 126 pixels, eleven images
    assert sizes == [batch] * (11 // batch) + [11 % batch] * (11 % batch > 0)
    assert np.array_equal(image, before)
    whole = curve(map_, image, lambda x: x.mean(axis=(1, 2, 3), dtype=np.float64), step=13, batch=11)
    assert np.array_equal(got.confidence, whole.confidence)
    assert got.auc == whole.auc


def test_a_better_map_has_a_smaller_deletion_and_a_larger_insertion():
    image = np.zeros((3, 32, 32), np.float32)
    image[:, 8:14, 18:25] = 1
    confidence = lambda images: (images * image).sum(axis=(1, 2, 3)) / image.sum()  # noqa: E731
    good, bad = image[0], 1 - image[0]
    assert deletion(good, image, confidence, step=8).auc < 0.1
    assert deletion(bad, image, confidence, step=8).auc > 0.9
    assert insertion(good, image, confidence, step=8).auc > 0.95
    assert insertion(bad, image, confidence, step=8).auc < 0.6


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_blurred_is_scipys_gaussian(channels):
    image = np.random.default_rng(0).standard_normal((channels, 20, 17)).astype(np.float32)
    expected = [
        gaussian_filter(c, 5, mode="constant", truncate=1) for c in image.astype(np.float64)
    ]  # truncate=1 is 5 pixels to each side
    np.testing.assert_allclose(blurred(image), expected, atol=1e-6)
    assert blurred(image).dtype == np.float32


# ---- bad input ----

MAP, IMAGE = np.random.default_rng(0).random((4, 5)), np.ones((3, 4, 5), np.float32)


def with_value(value):
    return np.where(np.arange(20).reshape(4, 5) == 7, value, MAP)


@pytest.mark.parametrize(
    ("map_", "message"),
    [
        (np.zeros((1, 4, 5)), r"shape \(1, 4, 5\), where \(H, W\)"),
        (np.zeros(5), r"where \(H, W\)"),
        (np.zeros((0, 5)), r"where \(H, W\)"),
        (with_value(np.nan), "not finite"),
        (with_value(np.inf), "not finite"),
        (with_value(-np.inf), "not finite"),
        (MAP + 0j, "complex128, where real numbers"),
        (np.full((4, 5), "a"), "real numbers"),
        (np.full((4, 5), None), "real numbers"),
    ],
)
def test_bad_maps_are_refused(map_, message):
    for metric in (ebpg, miou, bbox, pointing_game):
        with pytest.raises(ArgumentError, match=message):
            metric(map_, np.ones((4, 5), bool))
    with pytest.raises(ArgumentError, match=message):
        kept_pixels(map_)
    for curve in (deletion, insertion):
        with pytest.raises(ArgumentError, match=message):
            curve(map_, IMAGE, mean_of(IMAGE))


@LOCAL
@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (np.ones((5, 4), bool), r"shape \(5, 4\), the map \(4, 5\)"),
        (np.ones((1, 5), bool), "resize one of them"),
        (np.ones((4, 5), np.uint8), "uint8, where bool is needed: pass truth > 0"),
        (np.ones((4, 5)), "bool is needed"),
    ],
)
def test_bad_truths_are_refused(metric, truth, message):
    with pytest.raises(ArgumentError, match=message):
        metric(MAP, truth)


@pytest.mark.parametrize("share", [0, -0.2, 1.01, np.nan, 0.02])
def test_bad_shares_of_miou_are_refused(share):
    with pytest.raises(ArgumentError, match="share is"):
        miou(MAP, MAP > 0.5, share)


@pytest.mark.parametrize("share", [0, 1, 15, np.nan])
def test_bad_shares_of_kept_pixels_are_refused(share):
    with pytest.raises(ArgumentError, match="0 < share < 1"):
        kept_pixels(MAP, share)


@pytest.mark.parametrize("tolerance", [-1, np.nan])
def test_bad_tolerances_are_refused(tolerance):
    with pytest.raises(ArgumentError, match="tolerance is"):
        pointing_game(MAP, MAP > 0.5, tolerance)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (IMAGE[0], r"shape \(4, 5\), where \(C, H, W\)"),
        (IMAGE[None], r"\(C, H, W\)"),
        (IMAGE[:0], r"\(C, H, W\)"),
        (np.ones((3, 4, 5), np.uint8), "uint8, where float is needed: preprocess"),
        (IMAGE * np.nan, "image has values that are not finite"),
    ],
)
def test_bad_images_are_refused(image, message):
    for call in (
        lambda: deletion(MAP, image, mean_of(IMAGE)),
        lambda: insertion(MAP, image, mean_of(IMAGE)),
        lambda: masked_confidence(image, MAP[None], mean_of(IMAGE)),
        lambda: blurred(image),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()


@CURVES
@pytest.mark.parametrize("count", [0, -3, 2.5])
def test_bad_steps_batches_and_sizes_are_refused(curve, count):
    with pytest.raises(ArgumentError, match=r"step is .* at least 1"):
        curve(MAP, IMAGE, mean_of(IMAGE), step=count)
    with pytest.raises(ArgumentError, match=r"batch is .* at least 1"):
        curve(MAP, IMAGE, mean_of(IMAGE), batch=count)
    with pytest.raises(ArgumentError, match="resize the map"):
        curve(MAP[:3], IMAGE, mean_of(IMAGE))


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (MAP, r"shape \(4, 5\), where \(M, H, W\) of the image \(3, 4, 5\)"),
        (MAP[None, :3], r"where \(M, H, W\) of the image \(3, 4, 5\)"),
        (MAP[None] + 1, r"in \[0, 1\]"),
        (MAP[None] - 1, r"in \[0, 1\]"),
        (with_value(np.nan)[None], r"in \[0, 1\]"),
        (MAP[None] + 0j, r"in \[0, 1\]"),
    ],
)
def test_bad_masks_are_refused(masks, message):
    with pytest.raises(ArgumentError, match=message):
        masked_confidence(IMAGE, masks, mean_of(IMAGE))


@pytest.mark.parametrize(
    ("confidence", "message"),
    [
        (lambda images: np.zeros((len(images), 1)), r"shape \(1, 1\), where \(1,\)"),
        (lambda images: 0.5, r"shape \(\), where \(1,\)"),
        (lambda images: np.full(len(images), np.nan), "confidence has values that are not finite"),
        (
            lambda images: np.full(len(images), 7.5),
            "from 7.5 to 7.5, where probabilities .* softmax or sigmoid",
        ),
        (lambda images: np.full(len(images), -0.1), "probabilities are needed"),
    ],
)
def test_bad_confidences_are_refused(confidence, message):
    for call in (
        lambda: deletion(MAP, IMAGE, confidence, batch=1),
        lambda: insertion(MAP, IMAGE, confidence, batch=1),
        lambda: masked_confidence(IMAGE, MAP[None], confidence, batch=1),
    ):
        with pytest.raises(ArgumentError, match=message):
            call()


@pytest.mark.parametrize("compare", [drop, increase])
@pytest.mark.parametrize(
    ("whole", "masked", "message"),
    [
        ([0.5, 0.5], [0.5], "one of each per image"),
        ([[0.5], [0.5]], [0.5, 0.5], "one of each per image"),
        ([0.5, np.nan], [0.5, 0.5], "whole has values that are not finite"),
        ([0.5], [3.0], "masked has values from 3 to 3"),
        ([50.0], [30.0], "whole has values from 50 to 50"),
    ],
)
def test_bad_pairs_are_refused(compare, whole, masked, message):
    with pytest.raises(ArgumentError, match=message):
        compare(whole, masked)


# ---- another implementation ----


@pytest.fixture(scope="module")
def quantus():
    """Scores many maps and truths with one of Quantus' localisation metrics."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they warn of at import is not ours to mend
        module = pytest.importorskip("quantus")

    def score(name, maps, truths, **settings):
        metric = getattr(module, name)(
            abs=False, normalise=False, disable_warnings=True, display_progressbar=False, **settings
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return metric(
                model=None,
                x_batch=np.zeros((len(maps), 3, *SIZE)),
                y_batch=np.zeros(len(maps), int),
                a_batch=maps[:, None],
                s_batch=truths[:, None],
                channel_first=True,
            )

    return score


def test_quantus_agrees_where_the_definitions_do(quantus):
    """Not for maps with ties, where theirs takes any maximum, or negative energy, which theirs counts."""
    rng = np.random.default_rng(9)
    maps = np.stack([rng.permutation(np.arange(1.0, 1 + math.prod(SIZE))).reshape(SIZE) for _ in range(20)])
    truths = rng.random(maps.shape) < rng.uniform(0.05, 0.6, (20, 1, 1))
    pairs = list(zip(maps, truths, strict=True))
    np.testing.assert_allclose(
        [ebpg(*pair) for pair in pairs], quantus("RelevanceMassAccuracy", maps, truths), rtol=1e-12
    )
    np.testing.assert_allclose(
        [bbox(*pair) for pair in pairs], quantus("RelevanceRankAccuracy", maps, truths), rtol=1e-12
    )
    hits = [pointing_game(*pair, tolerance=0) for pair in pairs]
    np.testing.assert_array_equal(hits, quantus("PointingGame", maps, truths))
    assert 0 < np.mean(hits) < 1
    k = round(0.2 * math.prod(SIZE))
    common = k * np.array(
        quantus("TopKIntersection", maps, truths, k=k)
    )  # theirs is over k, ours over the union
    union = k + truths.sum(axis=(1, 2)) - common
    np.testing.assert_allclose([miou(*pair) for pair in pairs], common / union, rtol=1e-12)
