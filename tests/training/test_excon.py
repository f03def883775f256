"""ExCon: the loss in float64 loops from its equation, plain SupCon without a background, views, bad input."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sise_rt.errors import ArgumentError, ModelError
from sise_rt.training import ProjectionHead, contrastive_loss, views, views_with_negatives
from sise_rt.training.excon import features_of, linear_head, masked


def rows(pictures, count=2, width=4, seed=0):
    drawn = torch.randn(pictures, count, width, generator=torch.Generator().manual_seed(seed))
    return F.normalize(drawn.double(), dim=2)


def by_loops(features, labels, background, temperature, base):
    """The equation, view by view."""
    z = [row for picture in features.tolist() for row in picture]
    y = [label for label in labels.tolist() for _ in range(features.shape[1])]
    similar = [[sum(a * b for a, b in zip(p, q, strict=True)) / temperature for q in z] for p in z]
    total, shown = 0.0, 0
    for i in range(len(z)):
        shown += y[i] != background
        positives = [p for p in range(len(z)) if p != i and y[p] == y[i] and y[p] != background]
        denominator = sum(math.exp(similar[i][a]) for a in range(len(z)) if a != i)
        share = sum(similar[i][p] - math.log(denominator) for p in positives)
        total += -(temperature / base) * share / max(1, len(positives))
    mean = total / len(z)
    return mean * len(z) / shown  # the reference rescales by extended / original batch size


@pytest.mark.parametrize("background", [None, 3])
@pytest.mark.parametrize(("temperature", "base"), [(0.1, 0.07), (0.5, 0.5)])
def test_the_loss_is_its_equation(background, temperature, base):
    labels = torch.tensor([0, 1, 0, 2, 3, 3, 1])
    features = rows(7)
    found = contrastive_loss(features, labels, background=background, temperature=temperature, base=base)
    expected = by_loops(features, labels, background, temperature, base)
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_without_a_background_it_is_plain_supcon():
    """Khosla et al., equation 2, with arrays."""
    labels, features = torch.tensor([0, 1, 0, 2]), rows(4, 3)
    z, y = features.flatten(0, 1).numpy(), labels.repeat_interleave(3).numpy()
    weight = np.exp(z @ z.T / 0.1)
    np.fill_diagonal(weight, 0)
    log_share = np.log(np.where(weight > 0, weight, 1) / weight.sum(1, keepdims=True))
    same = (y[:, None] == y) & ~np.eye(12, dtype=bool)
    plain = -(log_share * same).sum(1) / same.sum(1)
    found = contrastive_loss(features, labels, background=9, base=0.1)
    assert float(found) == pytest.approx(plain.mean(), rel=1e-12)


def test_a_background_counts_in_the_denominators_alone():
    labels, features = torch.tensor([0, 0, 1, 5, 5]), rows(5)
    with_it = contrastive_loss(features, labels, background=5)
    without = contrastive_loss(features[:3], labels[:3])
    as_class = contrastive_loss(features, labels)
    assert with_it > without
    assert abs(with_it - as_class) > 1e-3


def test_classes_of_a_single_view_add_nothing():
    one = contrastive_loss(rows(2, 1), torch.tensor([0, 1]))
    assert float(one) == 0


def test_its_gradient_is_that_of_finite_differences():
    labels, features = torch.tensor([0, 1, 0, 4]), rows(4)
    torch.autograd.gradcheck(
        lambda z: contrastive_loss(F.normalize(z, dim=2), labels, background=4, temperature=0.5),
        features.requires_grad_(),
    )


@pytest.mark.parametrize(
    ("features", "labels", "settings", "error", "told"),
    [
        (rows(3), [0, -1, 1], {}, ArgumentError, "label -1"),
        (rows(3), [0, 1], {}, ArgumentError, r"int64 of \(3,\)"),
        (rows(3) * torch.nan, [0, 1, 1], {}, ModelError, "diverged"),
        (rows(3)[:, 0], [0, 1, 1], {}, ArgumentError, r"\(M, V, D\)"),
        (rows(1, 1), [0], {}, ArgumentError, "single view"),
        (rows(2), [4, 4], {"background": 4}, ArgumentError, "every picture is background"),
        (rows(2), [0, 1], {"temperature": 0}, ArgumentError, "temperature is 0"),
    ],
)
def test_a_loss_that_cannot_be_is_refused(features, labels, settings, error, told):
    with pytest.raises(error, match=told):
        contrastive_loss(features, torch.tensor(labels), **settings)


def test_one_picture_in_two_views_is_enough():
    assert float(contrastive_loss(rows(1), torch.tensor([0]))) == pytest.approx(0, abs=1e-12)


# ------------------------------------------------------------------------------------------------- views


def classify_as(*classes):
    return lambda images: F.one_hot(torch.tensor(classes), 3).float()


def test_masked_pixels_are_those_at_most_the_threshold(images, maps):
    shown = (maps - maps.amin((1, 2), keepdim=True)) / (
        maps.amax((1, 2), keepdim=True) - maps.amin((1, 2), keepdim=True) + 1e-8
    )
    expected = torch.where((shown > 0.5)[:, None], images, 0)
    torch.testing.assert_close(masked(images, maps), expected, rtol=0, atol=0)


def test_a_masked_view_stands_where_it_is_still_right(images, labels, maps):
    one, two = images + 1, images + 2
    maps[4] = 0
    made = views(images, (one, two), labels, maps, classify_as(0, 0, 2, 1, 0))
    assert (made.right.tolist(), made.flat) == ([True, False, True, True, False], 1)
    hidden = masked(images, maps)
    assert torch.equal(made.first[[0, 2, 3]], hidden[[0, 2, 3]])
    assert torch.equal(made.first[[1, 4]], two[[1, 4]])
    assert torch.equal(made.second, one)
    assert torch.equal(made.labels, labels)


def test_negatives_are_the_masked_pictures_that_are_wrong(images, labels, maps):
    maps[4] = 0  # without a shape: no negative
    classify = classify_as(0, 0, 2, 0, 1)
    made = views_with_negatives(images, (images, images), labels, maps, classify, background=3)
    assert made.labels.tolist() == [*labels.tolist(), 3, 3]
    for side in (made.first, made.second):
        assert torch.equal(side[5:], masked(images, maps)[[1, 3]])
    none = views_with_negatives(
        images, (images, images), labels, maps, classify_as(*labels.tolist()), background=3
    )
    assert len(none.first) == 5


def test_where_nothing_is_right_the_views_are_plain_supcons(images, labels, maps):
    made = views(images, (images + 1, images + 2), labels, maps, classify_as(1, 0, 1, 0, 1))
    assert not made.right.any()
    assert torch.equal(made.first, images + 2)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"labels": torch.tensor([0, 1, 2, 3, 0])}, ArgumentError, "label 3"),
        ({"maps": torch.zeros(5, 3, 3)}, ArgumentError, "maps have shape"),
        ({"maps": torch.full((5, 12, 10), torch.nan)}, ArgumentError, "finite"),
        ({"plain": torch.zeros(0, 3, 12, 10)}, ArgumentError, "v1 has shape|empty"),
        ({"plain": torch.full((5, 3, 12, 10), torch.nan)}, ArgumentError, "plain have values"),
        ({"classify": lambda x: torch.full((5, 3), torch.inf)}, ModelError, "diverged"),
        ({"classify": lambda x: x}, ModelError, "where logits"),
    ],
)
def test_views_of_no_batch_are_refused(images, labels, maps, change, error, told):
    given = {"plain": images, "labels": labels, "maps": maps, "classify": classify_as(*labels.tolist())}
    given |= {"augmented": (images, images)} | change
    with pytest.raises(error, match=told):
        views(**given)
    with pytest.raises(error, match=told):
        views_with_negatives(**given, background=3)


def test_a_background_among_the_labels_is_refused(images, labels, maps):
    with pytest.raises(ArgumentError, match="label 2"):
        views_with_negatives(
            images, (images, images), labels, maps, classify_as(*labels.tolist()), background=2
        )


# --------------------------------------------------------------------------------- head and linear evaluation


def test_the_head_gives_rows_of_length_one():
    torch.manual_seed(0)
    out = ProjectionHead(8, 5)(torch.randn(4, 8))
    assert out.shape == (4, 5)
    torch.testing.assert_close(out.norm(dim=1), torch.ones(4))


def test_the_linear_head_is_at_its_minimum():
    """In float64: where its equation's gradient, written down, is 0."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
    x[:, 0] += y
    head = linear_head(torch.from_numpy(x), torch.from_numpy(y), 3, decay=0.01)
    w, b = head.weight.detach().numpy(), head.bias.detach().numpy()
    z = x @ w.T + b
    off = np.exp(z) / np.exp(z).sum(1, keepdims=True) - np.eye(3)[y]
    assert np.abs(off.T @ x / 60 + 0.01 * w).max() < 1e-4
    assert np.abs(off.mean(0)).max() < 1e-4


def test_features_leave_the_encoder_as_it_was(model, images):
    found = features_of(model[:7], images, batch=2)
    assert found.shape == (5, 8)
    assert model.training
    assert not found.requires_grad


@pytest.mark.parametrize(
    ("features", "labels", "settings", "error", "told"),
    [
        (torch.rand(3, 2), [0, 1, 2], {"classes": 2}, ArgumentError, "label 2"),
        (torch.rand(0, 2), [], {"classes": 2}, ArgumentError, "features have shape"),
        (torch.rand(3, 2) * torch.nan, [0, 1, 1], {"classes": 2}, ModelError, "diverged"),
        (torch.rand(2, 2), [0, 1], {"classes": 2, "decay": 0}, ArgumentError, "decay is 0"),
    ],
)
def test_a_linear_head_that_cannot_be_is_refused(features, labels, settings, error, told):
    with pytest.raises(error, match=told):
        linear_head(features, torch.tensor(labels, dtype=torch.int64), **settings)
