"""Maps by a bundle: those of the explainer itself, renewed when they are due; and no torch, one line."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import sise_rt
from sise_rt.errors import ArgumentError
from sise_rt.training.bundled import BundleMaps


def test_maps_are_the_explainers(small_bundle):
    explainer = sise_rt.load(small_bundle, "cpu")
    picture = explainer.prepare(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    made = []

    def make():
        made.append(small_bundle)
        return small_bundle

    maps = BundleMaps(make, every=2, method="grad-cam")
    images = torch.from_numpy(picture.tensor).repeat(2, 1, 1, 1)
    with pytest.raises(ArgumentError, match="call begin"):
        maps(images, torch.tensor([1, 3]))
    assert [maps.begin(epoch) for epoch in (4, 5, 6, 7, 8)] == [True, False, True, False, True]
    assert len(made) == 3
    for method in ("grad-cam", "grad-cam++"):
        maps.method = method
        expected = [explainer.explain_targets(picture, [label], method=method)[0] for label in range(5)]
        found = maps(images[:1].repeat(5, 1, 1, 1), torch.arange(5))
        spoken = [not isinstance(each, sise_rt.NoEvidence) for each in expected]
        assert any(spoken)
        for row, each, speaks in zip(found, expected, spoken, strict=True):
            np.testing.assert_allclose(row, each.map if speaks else np.zeros((32, 32)), atol=1e-6)
    maps.method, maps.preset = "sise", "fast"
    assert maps(images[:1], torch.tensor([4])).max() == 1


def test_what_does_not_fit_is_refused(small_bundle):
    with pytest.raises(ArgumentError, match="every is 0"):
        BundleMaps(lambda: small_bundle, every=0)
    maps = BundleMaps(lambda: small_bundle)
    maps.begin(0)
    assert maps(torch.zeros(0, 3, 32, 32), torch.zeros(0, dtype=torch.int64)).shape == (0, 32, 32)
    with pytest.raises(ArgumentError, match="where the bundle takes"):
        maps(torch.zeros(1, 3, 16, 16), torch.tensor([0]))
    with pytest.raises(sise_rt.SiseError):
        maps(torch.zeros(1, 3, 32, 32), torch.tensor([5]))


def test_a_picture_that_nothing_speaks_for_has_a_flat_map(small_bundle, monkeypatch):
    maps = BundleMaps(lambda: small_bundle)
    maps.begin(0)

    def none(*_, **__):
        raise sise_rt.NoEvidence("nothing")

    monkeypatch.setattr(type(maps._explainer), "explain", none)
    assert (maps(torch.zeros(1, 3, 32, 32), torch.tensor([0])) == 0).all()


def test_without_torch_it_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; import sise_rt.training"
    failed = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.rstrip().endswith("needs torch: pip install 'sise-rt[training]'")
