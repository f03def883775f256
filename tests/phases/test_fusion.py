"""Fusion: Otsu's regions and Fig. 5, against numbers made by hand and against scikit-image."""

import numpy as np
import pytest
from skimage.filters import threshold_otsu

from sise_rt.phases.fusion import REGIONS, fuse, normalise, otsu, otsu_soft


def blob(seed: int, size: int = 40) -> np.ndarray:
    """A map in [0, 1] with a bright disc on noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    centre = rng.uniform(10, 30, 2)
    values = np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / 60) + 0.2 * rng.random((size, size))
    return (values - values.min()) / np.ptp(values)


@pytest.mark.parametrize("seed", range(5))
def test_the_hard_region_is_strictly_above_scikit_images_threshold(seed):
    u = blob(seed)
    assert np.array_equal(otsu(u), (u > threshold_otsu(u, nbins=256)).astype(float))


def test_a_pixel_at_the_threshold_is_left_out():
    u = np.repeat([0.0, 1.0], 50).reshape(10, 10)
    threshold = threshold_otsu(u, nbins=256)
    u[0, 0] = threshold
    assert threshold_otsu(u, nbins=256) == threshold
    assert otsu(u)[0, 0] == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_soft_region_is_the_definitions(seed):
    u = blob(seed)
    theta = threshold_otsu(u, nbins=256)
    if (u >= 1.5 * theta).mean() < 0.1:
        theta *= 1.5
    assert np.allclose(otsu_soft(u), 1 / (1 + np.exp(-100 * (u - theta))), atol=1e-12)


@pytest.mark.parametrize(("share", "raised"), [(0.08, True), (0.3, False)])
def test_the_soft_threshold_is_raised_for_small_regions(share, raised):
    u = np.zeros((100, 100))
    u[: round(100 * share)] = 1.0
    u[-1] = 0.4
    theta = threshold_otsu(u, nbins=256)
    assert np.allclose(
        otsu_soft(u), 1 / (1 + np.exp(-100 * (u - (1.5 if raised else 1) * theta))), atol=1e-12
    )


def test_fuse_by_hand():
    one = np.array([[0.0, 1.0], [0.5, 0.25]])
    two = np.array([[1.0, 0.0], [0.8, 0.1]])
    three = np.array([[0.0, 0.9], [1.0, 0.2]])
    half = lambda u: (u > 0.5).astype(float)  # noqa: E731
    assert np.allclose(fuse([one, two], half), [[1.0, 0.0], [1.3, 0.0]])
    assert np.allclose(fuse([one, two, three], half), [[0.0, 0.9], [2.3, 0.0]])


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_one_block_is_its_own_explanation(region):
    u = blob(1)
    assert np.array_equal(fuse([u], region), u)


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_fusing_is_finite_and_leaves_its_maps_alone(region):
    maps = [blob(seed) for seed in range(4)]
    before = [u.copy() for u in maps]
    raw = fuse(maps, region)
    assert np.isfinite(raw).all()
    assert raw.min() >= 0
    assert raw.max() <= 4
    assert all(np.array_equal(a, b) for a, b in zip(maps, before, strict=True))
    assert raw is not maps[0]


def test_normalise():
    assert normalise(np.array([[2.0, 4.0], [3.0, 2.0]])).tolist() == [[0, 1], [0.5, 0]]
    assert normalise(np.array([[-1e-12, 1e-12]])).tolist() == [[0, 1]], "small values have a shape too"


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0, 1e-30, 1e30])
def test_a_constant_map_says_nothing(value):
    map_ = np.full((4, 4), value)
    assert normalise(map_) is None
    map_[0, 0] *= 1 + 1e-7  # rounding
    assert normalise(map_) is None
