"""Checking an explanation with the model's own confidence, against the steps written out."""

import cv2
import numpy as np
import pytest

import sise_rt
from sise_rt.errors import BundleError
from sise_rt.metrics.check import STEPS, check
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


def test_the_record_holds_it(explainer):
    picture = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)
    explanation = explainer.explain(picture, "c", method="grad-cam")
    assert "check" not in explanation.record()
    checked = check(explainer.engine, explanation, picture)
    assert checked.record()["check"] == checked.check


def test_an_older_bundle_cannot_be_checked(explainer, monkeypatch):
    picture = np.random.default_rng(5).integers(0, 256, (32, 32, 3), np.uint8)
    explanation = explainer.explain(picture, "c", batch_size=4)
    other = sise_rt.load(explainer.engine.folder, "cpu")
    monkeypatch.delitem(other.engine.sessions.specs, "forward")
    with pytest.raises(BundleError, match="older sise-rt: export it again"):
        check(other.engine, explanation, picture)
