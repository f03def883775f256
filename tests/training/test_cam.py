"""Grad-CAM in torch, against finite differences and others, and what it leaves in the model: nothing."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sise_rt.errors import ArgumentError, ModelError
from sise_rt.training import find_layer, grad_cam
from sise_rt.training.maps import is_flat, normalised, random_maps
from sise_rt.training.occlusion import highest_share


def test_grad_cam_is_its_sum_by_finite_differences(model, images, labels):
    """Weights are the mean over pixels of the score's central difference at each feature, in float64."""
    found = grad_cam(model.double(), images.double(), labels)
    model.eval()
    before, after = model[:5], model[5:]
    with torch.no_grad():
        features = before(images.double())
        weights = torch.zeros(features.shape[:2], dtype=torch.float64)
        step = 1e-6
        for channel in range(features.shape[1]):
            moved = torch.zeros_like(features)
            moved[:, channel] = step
            sides = [after(features + sign * moved).gather(1, labels[:, None])[:, 0] for sign in (1, -1)]
            # Moving every pixel of a channel sums its gradient over them.
            weights[:, channel] = (sides[0] - sides[1]) / (2 * step) / features[0, 0].numel()
        expected = torch.einsum("nk,nkhw->nhw", weights, features)
        expected = F.interpolate(expected[:, None], (12, 10), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    assert (found < 0).any()  # there is no ReLU


def test_grad_cam_is_that_of_others(model, images, labels):
    captum = pytest.importorskip("captum.attr")
    model.eval()
    plain = copy.deepcopy(model)
    plain[2], plain[4] = nn.ReLU(), nn.ReLU()
    theirs = captum.LayerGradCam(plain, plain[4]).attribute(images, labels).detach()
    theirs = F.interpolate(theirs, (12, 10), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(grad_cam(model, images, labels), theirs, rtol=1e-4, atol=1e-6)


def test_an_in_place_relu_after_the_layer_changes_nothing(model, images, labels):
    """The convolution's own output is explained, not what the ReLU makes of it."""
    plain = copy.deepcopy(model)
    plain[4] = nn.ReLU()
    torch.testing.assert_close(
        grad_cam(model, images, labels, layer="3"), grad_cam(plain, images, labels, layer="3")
    )


@pytest.mark.parametrize("frozen", [False, True])
def test_the_model_is_left_as_it_was(model, images, labels, frozen):
    model.requires_grad_(not frozen)
    model[3].eval()
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    state = copy.deepcopy(model.state_dict())
    with torch.no_grad():
        grad_cam(model, images, labels)
    with pytest.raises(ArgumentError):
        grad_cam(model, images, labels, layer="nowhere")
    assert [module.training for module in model] == [True, True, True, False, True, True, True, True]
    assert all((p.grad == 1).all() and p.requires_grad is not frozen for p in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)  # batch norm has counted nothing


def test_the_found_layer_is_the_last_with_maps(model, images):
    assert find_layer(model, images) == "4"
    named = nn.Sequential(model[:5], model[5:])
    assert find_layer(named, images) == "0"
    with pytest.raises(ModelError, match="name a layer"):
        find_layer(nn.Sequential(nn.Flatten(), nn.Linear(360, 3)), images)


def test_a_batch_of_one_and_of_none(model, images, labels):
    alone = grad_cam(model, images[:1], labels[:1])
    torch.testing.assert_close(alone, grad_cam(model, images, labels)[:1], rtol=1e-5, atol=1e-7)
    assert grad_cam(model, images[:0], labels[:0]).shape == (0, 12, 10)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda x, y: (x, y + 1), ArgumentError, "label 3, where the model has 3 outputs"),
        (lambda x, y: (x, y - 1), ArgumentError, "label -1"),
        (lambda x, y: (x, y[:2]), ArgumentError, r"int64 of \(5,\)"),
        (lambda x, y: (x, y.float()), ArgumentError, "labels are torch.float32"),
        (lambda x, y: (x * torch.nan, y), ArgumentError, "not finite"),
        (lambda x, y: ((x * 255).byte(), y), ArgumentError, "preprocess them first"),
        (lambda x, y: (x[0], y), ArgumentError, r"\(N, C, H, W\) is needed"),
    ],
)
def test_what_is_no_batch_is_refused(model, images, labels, change, error, told):
    with pytest.raises(error, match=told):
        grad_cam(model, *change(images, labels))


@pytest.mark.parametrize(("layer", "told"), [("7", "maps"), ("6", "maps"), ("9", "no module '9'")])
def test_a_layer_without_maps_is_refused(model, images, labels, layer, told):
    with pytest.raises((ArgumentError, ModelError), match=told):
        grad_cam(model, images, labels, layer=layer)


def test_a_layer_that_the_logits_do_not_hang_on_is_refused(images, labels):
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.aside, self.unused = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
            self.head = nn.Linear(3, 3)

        def forward(self, x):
            self.aside(x)
            return self.head(x.mean((2, 3)))

    with pytest.raises(ModelError, match="do not depend on aside"):
        grad_cam(Aside(), images, labels, layer="aside")
    with pytest.raises(ModelError, match="unused does not run"):
        grad_cam(Aside(), images, labels, layer="unused")


def test_a_model_that_has_diverged_is_told(model, images, labels):
    nn.init.constant_(model[7].weight, torch.inf)
    with pytest.raises(ModelError, match="diverged"):
        grad_cam(model, images, labels)


def test_maps_by_min_max():
    maps = torch.tensor([[[-1.0, 0.0, 3.0]], [[2.0, 2.0, 2.0]]])
    torch.testing.assert_close(normalised(maps), torch.tensor([[[0, 0.25, 1]], [[0, 0, 0.0]]]))
    assert is_flat(maps).tolist() == [False, True]
    assert is_flat(torch.tensor([[[1e4, 1e4 + 1e-3]]])).tolist() == [True]


def test_the_control_has_exactly_the_areas_of_the_maps(images, maps):
    control = random_maps(images, torch.Generator().manual_seed(3))
    assert control.shape == maps.shape
    assert not is_flat(control).any()
    for area in (0.1, 0.2, 0.35):
        counts = [highest_share(x, area).sum((1, 2)).tolist() for x in (maps, control)]
        assert counts[0] == counts[1] == [round(area * 120)] * 5
    assert not np.array_equal(highest_share(maps), highest_share(control))
    with pytest.raises(ArgumentError, match="cells is 1"):
        random_maps(images, torch.Generator(), cells=1)
