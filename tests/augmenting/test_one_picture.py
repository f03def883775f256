"""One picture: which class is explained, what is right, where the map lies, and what is drawn by chance."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sise_rt
from sise_rt.augmenting import one_picture
from sise_rt.augmenting.occlusion import highest_share
from sise_rt.methods import parse
from sise_rt.pictures.placement import Placement, to_original

DEMO = Path(sise_rt.__file__).parent / "demo" / "surface.sise"
PLAN = one_picture.Plan(
    request=parse("grad-cam"), targets={}, area=0.2, threshold=None, fill="mean", salient_label="background",
    kept=(), every=False, seed=0, batch_size=8,
)  # fmt: skip


def test_of_several_classes_the_surest_is_taken_and_a_sigmoid_has_to_see_it(photos, monkeypatch):
    explainer = sise_rt.load(DEMO, "cpu")
    pit, patch = map(explainer.manifest.labels.index, ("pit", "patch"))
    job, picture = one_picture.Job("x", "x", (patch, pit)), explainer.prepare(photos / "pit" / "0.png")
    line, salient, _ = one_picture.find(explainer, job, picture, PLAN)
    assert (line["target"], line["predicted"], salient is None) == (pit, pit, False)
    explainer.manifest = replace(explainer.manifest, activation="sigmoid")
    line, salient, _ = one_picture.find(explainer, job, picture, PLAN)
    assert (line["status"], line["target"], salient is None) == ("done", pit, False)
    scratch = explainer.manifest.labels.index("scratch")
    with monkeypatch.context() as patch:
        patch.setattr(one_picture, "confidences", lambda *_: np.eye(5)[scratch] + 0.6 * np.eye(5)[pit])
        line, _, _ = one_picture.find(explainer, job, picture, PLAN)
    assert (line["status"], line["predicted"]) == ("done", scratch)  # the other one is there as well
    absent = replace(job, present=(scratch,))
    line, salient, _ = one_picture.find(explainer, absent, picture, PLAN)
    assert (line["status"], line["message"], salient) == ("skipped", "the model does not see it", None)


def test_what_is_no_rgb_is_an_array_of_numpy():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 4), np.uint8)
    ending, content = one_picture.encoded(pixels)
    assert ending == ".npy"
    assert content.startswith(np.lib.format.MAGIC_PREFIX)


def test_chance_differs_by_seed_picture_and_use():
    drawn = [
        one_picture.chance(*by).random()
        for by in ((0, "a", "x"), (1, "a", "x"), (0, "b", "x"), (0, "a", "y"))
    ]
    assert len(set(drawn)) == 4
    assert one_picture.chance(0, "a", "x").random() == drawn[0]


def test_a_map_finds_its_way_back_as_the_overlay_s_does():
    map_ = np.zeros((8, 8), np.float32)
    map_[2, 5] = 1  # whose centre lies in row 12.5, column 20 + 27.5 of the picture
    placed, seen = to_original(map_, Placement((40, 80), (8, 16), 0, 4, (8, 8)))
    marked = highest_share(placed, seen, 25 / seen.sum())
    ys, xs = np.nonzero(marked)
    assert (ys.mean() + 0.5, xs.mean() + 0.5) == pytest.approx((12.5, 47.5), abs=0.2)
