"""The features block by block are those of one pass."""

from dataclasses import replace

import numpy as np
import pytest

import sise_rt
from sise_rt.blockwise import Blockwise
from sise_rt.bundle import BEST, read_bundle
from sise_rt.engine import Engine
from sise_rt.errors import BundleError, ModelError


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(6).standard_normal((2, 3, 32, 32)).astype(np.float32)


def engine(bundle, memory=None) -> Engine:
    return Engine(bundle, read_bundle(bundle), "cpu", memory=memory)


@pytest.mark.parametrize("target", [0, 3, BEST])
def test_they_are_those_of_one_pass(small_bundle, images, target):
    whole = engine(small_bundle)
    targets = np.full(2, target)
    expected, found = (e.features(images, targets) for e in (whole, Blockwise(whole)))
    for one, other in zip(
        (*found[0], *found[1], found[2]), (*expected[0], *expected[1], expected[2]), strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6 * np.abs(other).max())


def test_they_are_made_so_where_one_pass_would_not_fit(small_bundle, images, monkeypatch):
    needed = read_bundle(small_bundle).memory["backward"]
    enough, little = engine(small_bundle, needed), engine(small_bundle, needed - 1)
    assert not enough.warnings
    assert any("they are made block by block" in warning for warning in little.warnings)
    monkeypatch.setattr(Engine, "open_features", lambda _: pytest.fail("the whole graph was opened"))
    engine(small_bundle, needed - 1)
    picture = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    monkeypatch.undo()
    one, other = (sise_rt.load(small_bundle, "cpu", memory=m).explain(picture) for m in (needed, needed - 1))
    np.testing.assert_allclose(one.raw, other.raw, rtol=1e-4, atol=1e-5)


def test_graphs_that_do_not_fit(small_bundle, images):
    manifest = read_bundle(small_bundle)
    first = manifest.blocks[0]
    other = replace(manifest, blocks=(replace(first, channels=first.channels + 1), *manifest.blocks[1:]))
    with pytest.raises(BundleError, match="do not fit the manifest: export the bundle again"):
        Blockwise(replaced(engine(small_bundle), other)).features(images, np.zeros(2, np.int64))
    with pytest.raises(ModelError, match="the model cannot be run"):
        Blockwise(engine(small_bundle)).features(images[:, :2], np.zeros(2, np.int64))


def replaced(found: Engine, manifest) -> Engine:
    found.manifest = manifest
    return found
