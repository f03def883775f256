"""Checking an explanation with the model's own confidence, against the steps written out."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

import sise_rt
import sise_rt.metrics.check as module
from sise_rt.errors import ArgumentError, BundleError
from sise_rt.metrics.check import STEPS, check, check_region
from sise_rt.pictures.regions import region_of
from sise_rt.running.logits import confidences


@pytest.fixture(scope="module")
def explainer(small_bundle):
    return sise_rt.load(small_bundle, "cpu")


def test_against_masks_made_by_hand(explainer):
    picture = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)
    explanation = explainer.explain(picture, "c", batch_size=4)
    found = check(explainer.engine, explanation, picture).check
    image = explainer.prepare(picture).tensor

    def psi(images):
        *_, logits = explainer.engine.features(images.astype(np.float32), np.full(len(images), 2))
        return confidences(logits, "softmax")[:, 2]

    order = np.argsort(-explanation.map, axis=None, kind="stable")
    limit = explanation.map.ravel()[order[int(0.15 * order.size)]]
    mask = explanation.map > limit
    whole, kept = psi(image)[0], psi(image * mask)[0]
    assert found["drop"] == pytest.approx(max(0, whole - kept) / whole, abs=1e-5)
    assert found["increase"] == float(kept > whole)
    assert found["kept"] == pytest.approx(mask.mean(), abs=1e-6)
    blurred = np.stack([cv2.GaussianBlur(c, (11, 11), 5, borderType=cv2.BORDER_CONSTANT) for c in image[0]])
    curves = {"insertion": [], "deletion": []}
    step = -(-order.size // STEPS)
    for shown in range(0, order.size + step, step):
        here = np.zeros(order.size, bool)
        here[order[:shown]] = True
        here = here.reshape(explanation.map.shape)
        curves["insertion"].append(psi(np.where(here, image[0], blurred)[None])[0])
        curves["deletion"].append(psi(np.where(here, 0, image[0])[None])[0])
    for name, curve in curves.items():
        area = (np.sum(curve) - (curve[0] + curve[-1]) / 2) / (len(curve) - 1)  # by the trapezoid rule
        assert found[name] == pytest.approx(area, abs=1e-5)


def test_the_region_is_hidden_shown_and_hidden_elsewhere(explainer):
    picture = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)
    explanation = explainer.explain(picture, "c", batch_size=4)
    region = check_region(explainer.engine, explanation, picture).check["region"]
    image = explainer.prepare(picture).tensor[0]
    marked = region_of(explanation.map)

    def psi(image):
        *_, logits = explainer.engine.features(image[None].astype(np.float32), np.full(1, 2))
        return confidences(logits, "softmax")[0, 2]

    assert (region["level"], region["area"]) == (0.5, marked.mean())
    assert region["whole"] == explanation.confidence
    assert region["hidden"] == pytest.approx(psi(np.where(marked, 0, image)), abs=1e-6)
    assert region["alone"] == pytest.approx(psi(np.where(marked, image, 0)), abs=1e-6)
    places = np.random.default_rng(region["random"]["seed"]).integers(1, 32 * 32, region["random"]["copies"])
    moved = [np.roll(np.roll(marked, p // 32, 0), p % 32, 1) for p in places]
    others = [psi(np.where(each, 0, image)) for each in moved]
    told = [region["random"][key] for key in ("mean", "lowest", "highest")]
    assert told == pytest.approx([np.mean(others), min(others), max(others)], abs=1e-6)
    least = min(region["whole"], np.mean(others)) - 0.01 * region["whole"]
    assert region["bears"] == (region["hidden"] <= least)


def test_a_path_is_read_once_and_the_whole_picture_is_not_run_again(explainer, tmp_path, monkeypatch):
    picture = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)
    path = tmp_path / "noise.png"
    Image.fromarray(picture).save(path)
    explanation = explainer.explain(path, "c", batch_size=4)
    read, ran = [], []
    prepare, forward = module.prepare, explainer.engine.forward
    monkeypatch.setattr(module, "prepare", lambda *given: read.append(given) or prepare(*given))
    monkeypatch.setattr(explainer.engine, "forward", lambda images: ran.extend(images) or forward(images))
    check(explainer.engine, explanation, path)
    whole = explainer.prepare(path).tensor[0]
    assert len(read) == 1
    # Insertion ends with the whole picture, and deletion begins with it.
    assert sum(np.array_equal(image, whole) for image in ran) == 2


def test_a_region_that_does_not_bear_the_decision_is_warned_of(explainer):
    picture = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)
    explanation = explainer.explain(picture, "c", batch_size=4)
    seen = set()
    for seed in range(20):
        map_ = np.zeros((32, 32), np.float32)
        top, left = np.random.default_rng(seed).integers(0, 24, 2)
        map_[top : top + 8, left : left + 8] = 1
        told = check_region(explainer.engine, replace(explanation, map=map_))
        again = check_region(explainer.engine, told)
        codes = [warning.code for warning in again.warnings]
        assert codes.count("region-not-borne") == (told.check["region"]["bears"] is False)
        assert again.warnings == told.warnings
        seen.add(told.check["region"]["bears"])
    assert seen == {True, False}
    nothing = check_region(explainer.engine, replace(explanation, map=np.zeros((32, 32), np.float32)))
    region = nothing.record()["check"]["region"]
    assert (region["area"], region["random"], region["bears"]) == (0, None, None)
    assert nothing.warnings == explanation.warnings


def test_the_record_holds_it(explainer):
    picture = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)
    explanation = explainer.explain(picture, "c", method="grad-cam")
    assert explanation.record()["check"] is None
    checked = check(explainer.engine, explanation)
    assert checked.record()["check"] == checked.check
    without = replace(explanation, picture=None)
    with pytest.raises(ArgumentError, match="does not hold its picture any more"):
        check(explainer.engine, without)
    assert check(explainer.engine, without, picture).check == checked.check


def test_an_older_bundle_cannot_be_checked(explainer, monkeypatch):
    picture = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)
    explanation = explainer.explain(picture, "c", batch_size=4)
    other = sise_rt.load(explainer.engine.folder, "cpu")
    monkeypatch.delitem(other.engine.sessions.specs, "forward")
    with pytest.raises(BundleError, match="older sise-rt: export it again"):
        check(other.engine, explanation, picture)
