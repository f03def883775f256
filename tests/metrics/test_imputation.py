"""ROAD: what is filled in against the dense system, and the order of pixels; complexity."""

import warnings

import numpy as np
import pytest

from sise_rt.errors import ArgumentError
from sise_rt.metrics import complexity, imputed, road
from sise_rt.metrics.imputation import SHARES

pytest.importorskip("scipy")


def dense(image, known):
    """Each unknown pixel's equation written out: the weighted mean of the neighbours that there are."""
    height, width = known.shape
    unknown = [tuple(at) for at in np.argwhere(~known)]
    system, right = np.zeros((len(unknown),) * 2), np.zeros((len(unknown), len(image)))
    for row, (y, x) in enumerate(unknown):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                there = y + dy, x + dx
                if (dy, dx) == (0, 0) or not (0 <= there[0] < height and 0 <= there[1] < width):
                    continue
                weight = 1 / 6 if dy == 0 or dx == 0 else 1 / 12
                system[row, row] += weight
                if known[there]:
                    right[row] += weight * image[:, there[0], there[1]]
                else:
                    system[row, unknown.index(there)] -= weight
    filled = image.astype(np.float64).copy()
    filled[:, ~known] = np.linalg.solve(system, right).T
    return filled


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("size", [(9, 12), (1, 8), (7, 1)])
def test_what_is_filled_in_solves_the_dense_system(share, size):
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, *size)).astype(np.float32)
    known = rng.random(size) > share
    known.flat[3] = True
    found = imputed(image, known, noise=0)
    np.testing.assert_allclose(found, dense(image, known), atol=1e-5)
    assert np.array_equal(found[:, known], image[:, known])


def test_what_is_filled_in_is_pytorch_grad_cams():
    torch = pytest.importorskip("torch")
    pytest.importorskip("sise_rt.export.intake.from_torch").import_torchvision()
    theirs = pytest.importorskip("pytorch_grad_cam.metrics.road").NoisyLinearImputer(noise=0)
    rng = np.random.default_rng(1)
    image = rng.standard_normal((3, 24, 20)).astype(np.float32)
    known = np.kron(rng.random((6, 5)), np.ones((4, 4))) > 0.6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what NumPy deprecates in it is not ours to mend
        expected = theirs(torch.tensor(image), torch.tensor(known.astype(np.float32))).numpy()
    difference = np.abs(imputed(image, known, noise=0) - expected).max()
    print(f"largest difference {difference:.1e}")
    assert difference < 1e-6


def test_the_noise():
    image, known = np.zeros((3, 40, 40), np.float32), np.zeros((40, 40), bool)
    known[0] = True
    filled = imputed(image, known)
    assert 0.009 < filled[:, ~known].std() < 0.011
    assert np.array_equal(filled, imputed(image, known))
    assert not np.array_equal(filled, imputed(image, known, seed=1))


def test_all_known_is_the_image():
    image = np.random.default_rng(0).standard_normal((3, 5, 6)).astype(np.float32)
    assert np.array_equal(imputed(image, np.ones((5, 6), bool)), image)


def test_a_map_of_what_counts_is_good_and_its_opposite_is_bad():
    """The model sees how much of a bright spot is left."""
    spot = np.zeros((20, 20), np.float32)
    spot[5:11, 6:12] = 1
    image = np.stack([spot, spot])

    def confidence(images):
        return np.clip((images * spot).sum(axis=(1, 2, 3)) / (2 * spot.sum()), 0, 1)

    map_ = spot + 0.01 * np.random.default_rng(0).random((20, 20))
    good, bad = road(map_, image, confidence), road(-map_, image, confidence)
    assert good.value > 0.3
    assert bad.value == pytest.approx(-good.value, abs=1e-6)
    np.testing.assert_allclose(good.shares, SHARES)
    np.testing.assert_allclose(good.morf, bad.lerf, atol=1e-6)
    assert (good.lerf[:3] > 0.9).all()  # what is filled in does not touch the spot
    assert good.morf[0] < 0.2


def test_as_many_pixels_as_asked_are_replaced():
    seen = []

    def confidence(images):
        seen.extend((images != 1).any(axis=1).sum(axis=(1, 2)).tolist())
        return np.full(len(images), 0.5)

    road(
        np.random.default_rng(0).random((10, 10)),
        np.ones((1, 10, 10), np.float32),
        confidence,
        shares=(0.13, 0.5),
    )
    assert seen == [13, 13, 50, 50]


@pytest.mark.parametrize("shares", [(), (0,), (1,), (0.5, 1.2), (1e-4,), (float("nan"),)])
def test_shares_that_cannot_be(shares):
    with pytest.raises(ArgumentError, match="replace some of the pixels"):
        road(np.eye(8), np.ones((1, 8, 8), np.float32), lambda images: np.ones(len(images)), shares=shares)


@pytest.mark.parametrize("known", [np.zeros((8, 8), bool), np.ones((8, 8)), np.ones((4, 8), bool)])
def test_pixels_that_cannot_be(known):
    with pytest.raises(ArgumentError, match="known is"):
        imputed(np.ones((1, 8, 8), np.float32), known)


def test_complexity():
    assert complexity(np.zeros((4, 4))) == 0
    assert complexity(np.ones((4, 4))) == 1
    assert complexity(np.eye(4)) == 0.25
    for map_ in (np.eye(4) - 0.5, 2 * np.eye(4)):
        with pytest.raises(ArgumentError, match="bring it to 0 to 1"):
            complexity(map_)
