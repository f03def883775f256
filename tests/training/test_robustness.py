"""Calibration and worse pictures, by their definitions."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sise_rt.errors import ArgumentError, ModelError
from sise_rt.training.calibration import calibration_error
from sise_rt.training.robustness import EPSILONS, blurred, fgsm, noisy, paler


def test_calibration_is_its_equation():
    rng = np.random.default_rng(0)
    logits, labels = 3 * rng.normal(size=(200, 4)), rng.integers(0, 4, 200)
    psi = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    total = 0.0
    for k in range(10):
        inside = [i for i in range(200) if k / 10 < psi[i].max() <= (k + 1) / 10]
        if inside:
            right = np.mean([psi[i].argmax() == labels[i] for i in inside])
            total += len(inside) / 200 * abs(np.mean([psi[i].max() for i in inside]) - right)
    assert calibration_error(psi, labels, bins=10) == pytest.approx(total, rel=1e-12)


def test_calibration_at_its_ends():
    sure = np.eye(3)[[0, 1, 2, 0]]
    assert calibration_error(sure, np.array([0, 1, 2, 0])) == 0
    assert calibration_error(sure, np.array([1, 2, 0, 1])) == 1
    assert np.isnan(calibration_error(np.zeros((0, 3)), np.zeros(0, int)))


@pytest.mark.parametrize(
    ("confidences", "labels", "told"),
    [
        (np.eye(2), [0, 2], "classes are 2"),
        (np.eye(2), [0, -1], "from -1"),
        (np.eye(2), [0], "labels"),
        (np.eye(2), [0.0, 1.0], "whole numbers"),
        (np.eye(2) * np.nan, [0, 1], "not finite"),
        (np.eye(2) * 5, [0, 1], "softmax"),
    ],
)
def test_calibration_of_what_is_none_is_refused(confidences, labels, told):
    with pytest.raises(ArgumentError, match=told):
        calibration_error(confidences, np.array(labels))
    with pytest.raises(ArgumentError, match="bins is 0"):
        calibration_error(np.eye(2), np.array([0, 1]), bins=0)


def prepared(images):
    return (images - 0.4) / 0.25


@pytest.mark.parametrize("epsilon", [0, *EPSILONS])
def test_fgsm_steps_by_the_sign_of_central_differences(model, images, labels, epsilon):
    """At some pixels, in float64."""
    model, images = model.double(), images.double()
    moved = fgsm(model, images, labels, epsilon, prepared)
    assert (moved - images).abs().max() <= epsilon + 1e-12
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert model.training
    model.eval()
    for at in [(0, 0, 3, 4), (1, 2, 7, 1), (4, 1, 11, 9), (2, 0, 0, 0)]:
        step = torch.zeros_like(images)
        step[at] = 1e-6
        with torch.no_grad():
            up, down = (F.cross_entropy(model(prepared(images + s * step)), labels) for s in (1, -1))
        expected = (images[at] + epsilon * torch.sign(up - down)).clamp(0, 1)
        assert float(moved[at]) == pytest.approx(float(expected), abs=1e-12)


def test_fgsm_raises_the_loss_and_leaves_the_model(model, images, labels):
    losses = []
    for epsilon in (0, *EPSILONS):
        moved = fgsm(model, images, labels, epsilon)
        with torch.no_grad():
            losses.append(float(F.cross_entropy(model.eval()(moved), labels)))
    assert losses == sorted(losses)
    assert losses[0] < losses[-1]
    assert all(parameter.grad is None for parameter in model.parameters())
    assert fgsm(model, images[:0], labels[:0], 0.1).shape == (0, 3, 12, 10)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"images": torch.full((5, 3, 12, 10), 1.5)}, ArgumentError, "mean and std come after"),
        ({"images": torch.full((5, 3, 12, 10), torch.nan)}, ArgumentError, "not finite"),
        ({"labels": torch.tensor([0, 1, 2, 3, 0])}, ArgumentError, "label 3"),
        ({"epsilon": -0.1}, ArgumentError, "epsilon is -0.1"),
        ({"prepare": lambda x: x * torch.inf}, ModelError, "diverged"),
    ],
)
def test_fgsm_of_what_is_none_is_refused(model, images, labels, change, error, told):
    with pytest.raises(error, match=told):
        fgsm(**{"model": model, "images": images, "labels": labels, "epsilon": 0.01} | change)


def test_corruptions():
    images = 0.25 + 0.5 * torch.rand(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    noise = noisy(images, torch.Generator().manual_seed(1), 0.05) - images
    assert float(noise.std()) == pytest.approx(0.05, rel=0.05)
    assert float(noise.mean()) == pytest.approx(0, abs=0.002)
    torch.testing.assert_close(paler(images, 0.5).mean((1, 2, 3)), images.mean((1, 2, 3)))
    torch.testing.assert_close(paler(images, 0.5).std(), images.std() / 2, rtol=0.02, atol=0)
    assert blurred(images).std() < 0.5 * images.std()
    torch.testing.assert_close(blurred(torch.full((1, 3, 9, 9), 0.3)), torch.full((1, 3, 9, 9), 0.3))
    for corrupt in (blurred, paler):
        with pytest.raises(ArgumentError, match=r"where \[0, 1\] is needed"):
            corrupt(images * 9)
