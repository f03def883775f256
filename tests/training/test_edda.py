"""EDDA: exact areas, the copies, the loss by its equation in float64, its gradient, and bad input."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from sise_rt.errors import ArgumentError, ModelError
from sise_rt.training import Edda, edda_loss, grad_cam, joined
from sise_rt.training.edda import extra_class, nothing, occlude, sigmoid_rows, softmax_rows, uniform
from sise_rt.training.occlusion import above, blur, highest_share, mean_colour, noise, zero

ALL = torch.ones(5, dtype=torch.bool)


@pytest.mark.parametrize("area", [0.01, 0.1, 0.2, 0.5, 0.9])
def test_areas_are_exact(maps, area):
    salient = highest_share(maps, area)
    for map_, marked in zip(maps.numpy(), salient.numpy(), strict=True):
        assert marked.sum() == round(area * 120)
        assert map_[marked].min() > map_[~marked].max()


def test_of_equal_pixels_the_first_are_taken():
    assert highest_share(torch.zeros(1, 2, 5), 0.3).flatten().tolist() == [True] * 3 + [False] * 7


def test_above_is_of_the_normalised_map():
    marked = above(torch.tensor([[[-2.0, 0.0, 0.1, 2.0]]]), 0.5)
    assert marked.flatten().tolist() == [False, False, True, True]


@pytest.mark.parametrize("area", [0, 1, -0.1, 1e-4, torch.nan])
def test_areas_that_are_none_are_refused(maps, area):
    with pytest.raises(ArgumentError, match="area is"):
        highest_share(maps, area)
    with pytest.raises(ArgumentError, match="threshold is"):
        above(maps, 1.0)


@pytest.mark.parametrize("fill", [zero, mean_colour, blur, partial(noise, generator=torch.Generator())])
def test_the_copies_share_the_picture_between_them(images, labels, maps, fill):
    """What the one shows the other hides, and nothing else of the picture is changed."""
    done = occlude(images, labels, maps, ALL, fill=fill)
    assert (done.salient.sum((1, 2)) == 24).all()
    inside = done.salient[:, None].expand_as(images)
    assert torch.equal(done.kept[inside], images[inside])
    assert torch.equal(done.without[~inside], images[~inside])
    assert (done.kept[~inside] != images[~inside]).float().mean() > 0.9
    assert (done.without[inside] != images[inside]).float().mean() > 0.9


def test_fills():
    images = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    cv2 = pytest.importorskip("cv2")
    theirs = [
        cv2.GaussianBlur(channel, (7, 7), 1, borderType=cv2.BORDER_REPLICATE) for channel in images.numpy()[0]
    ]
    np.testing.assert_allclose(blur(images, 1.0)[0], theirs, atol=1e-6)
    drawn = noise(images.repeat(1, 1, 30, 30), torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean((2, 3)), images.mean((2, 3)), atol=0.01, rtol=0)
    torch.testing.assert_close(drawn.std((2, 3)), images.std((2, 3), correction=0), atol=0.01, rtol=0)
    with pytest.raises(ArgumentError, match="sigma is 0"):
        blur(images, 0)


def test_wrong_and_flat_pictures_have_no_copies(images, labels, maps):
    maps[1] = 0.3
    done = occlude(images, labels, maps, torch.tensor([True, True, False, True, False]))
    assert (done.rows.tolist(), done.labels.tolist(), done.wrong, done.flat) == ([0, 3], [0, 1], 2, 1)
    assert joined(images, done).shape == (9, 3, 12, 10)


def test_a_batch_where_nothing_is_right_trains_as_it_is(model, images, labels):
    def never(*_):
        raise AssertionError("nothing is to be explained")

    wrong = (model.eval()(images).argmax(1) + 1) % 3
    edda = Edda(never)
    done = edda(model, images, wrong, epoch=0)
    assert (len(done.rows), edda.wrong, edda.occluded) == (0, 5, 0)
    logits = model(joined(images, done))
    expected = nn.functional.cross_entropy(logits, wrong)
    torch.testing.assert_close(edda_loss(logits, wrong, done, background=uniform), expected)


def test_the_transform_explains_only_what_is_right(model, images):
    with torch.no_grad():
        answers = model.eval()(images).argmax(1)
    model.train()
    answers[0] = (answers[0] + 1) % 3
    seen = []

    def explain(some, their_labels):
        seen.append((len(some), their_labels.tolist()))
        return grad_cam(model, some, their_labels)

    edda = Edda(explain, warm_up=2)
    assert [len(edda(model, images, answers, epoch).rows) for epoch in (0, 1)] == [0, 0]
    assert edda(model, images, answers, 2).rows.tolist() == [1, 2, 3, 4]
    assert seen == [(4, answers[1:].tolist())]
    assert (edda.wrong, edda.flat, edda.occluded) == (1, 0, 4)
    assert model.training


@pytest.mark.parametrize("background", [extra_class, uniform])
def test_the_softmax_loss_is_its_equation(images, labels, maps, background):
    right = torch.tensor([True, False, True, True, False])
    done = occlude(images, labels, maps, right)
    logits = torch.randn(11, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = edda_loss(logits, labels, done, background=background, kept_weight=0.5, without_weight=2.0)
    z = logits.numpy()

    def entropy(row, target):
        shares = np.exp(row) / np.exp(row).sum()
        return -sum(t * np.log(p) for t, p in zip(target, shares, strict=True))

    one = np.eye(4)
    absent = one[3] if background is extra_class else np.full(4, 0.25)
    own = [one[label] for label in (0, 2, 1)]
    expected = sum(entropy(z[i], one[y]) for i, y in enumerate(labels)) / 5
    expected += 0.5 * sum(entropy(z[5 + i], y) for i, y in enumerate(own)) / 3
    expected += 2.0 * sum(entropy(z[8 + i], absent) for i in range(3)) / 3
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_the_sigmoid_loss_is_its_equation(images, labels, maps):
    done = occlude(images, labels, maps, ALL)
    logits = torch.randn(15, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = edda_loss(logits, labels, done, background=nothing, rows=sigmoid_rows)
    p = 1 / (1 + np.exp(-logits.numpy()))
    targets = np.concatenate([np.eye(3)[labels], np.eye(3)[labels], np.zeros((5, 3))])
    each = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean(axis=1)
    assert float(found) == pytest.approx(each.reshape(3, 5).mean(axis=1).sum(), rel=1e-12)


@pytest.mark.parametrize(("background", "rows"), [(uniform, softmax_rows), (nothing, sigmoid_rows)])
def test_the_gradient_is_that_of_finite_differences(images, labels, maps, background, rows):
    done = occlude(images, labels, maps, ALL)
    logits = torch.randn(15, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.autograd.gradcheck(
        lambda z: edda_loss(z, labels, done, background=background, rows=rows), logits.requires_grad_()
    )


def test_copies_pull_the_confidence_as_the_principle_says(model, images, labels):
    """A few steps: hiding what is salient costs confidence, and hiding the rest costs less than before."""
    model[7] = nn.Linear(8, 4)
    maps = torch.zeros(5, 12, 10)
    maps[:, 3:8, 2:7] = 1
    done = occlude(images, labels, maps, ALL, mark=above)
    optimizer = torch.optim.Adam(model.parameters(), 0.02)
    losses = []
    for _ in range(40):
        loss = edda_loss(model(joined(images, done)), labels, done, background=extra_class)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    with torch.no_grad():
        kept, without = (model(x).softmax(1)[range(5), labels].mean() for x in (done.kept, done.without))
    assert losses[-1] < losses[0] / 2
    assert kept > without + 0.3


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"labels": torch.tensor([0, 1, 2, 1, 4])}, ArgumentError, "label 4, where the model has 4"),
        ({"labels": torch.tensor([0, 1, 3, 1, 0])}, ArgumentError, "one output more"),
        ({"logits": torch.zeros(14, 4)}, ModelError, r"logits \(15, outputs\)"),
        ({"logits": torch.full((15, 4), torch.nan)}, ModelError, "diverged"),
        ({"kept_weight": -1.0}, ArgumentError, "weights are -1"),
        ({"labels": torch.zeros(0, dtype=torch.int64)}, ArgumentError, "the batch is empty"),
    ],
)
def test_a_loss_that_cannot_be_is_refused(images, labels, maps, change, error, told):
    given = {"logits": torch.zeros(15, 4), "labels": labels} | change
    wanted = given["labels"] if len(given["labels"]) else labels
    done = occlude(images, wanted, maps, ALL)
    with pytest.raises(error, match=told):
        edda_loss(given.pop("logits"), given.pop("labels"), done, background=extra_class, **given)


@pytest.mark.parametrize(
    ("explain", "told"),
    [
        (lambda x, y: torch.zeros(1, 2, 2), "maps have shape"),
        (lambda x, y: torch.full((len(x), 12, 10), torch.nan), "finite"),
    ],
)
def test_maps_that_are_none_are_refused(model, images, explain, told):
    answers = model.eval()(images).argmax(1)
    with pytest.raises(ArgumentError, match=told):
        Edda(explain)(model, images, answers, 0)
    with pytest.raises(ArgumentError, match="right is"):
        occlude(images, answers, torch.zeros(5, 12, 10), answers)


def test_flat_maps_are_counted(model, images):
    answers = model.eval()(images).argmax(1)
    edda = Edda(lambda x, y: torch.ones(len(x), 12, 10))
    assert len(edda(model, images, answers, 0).rows) == 0
    assert (edda.flat, edda.occluded) == (5, 0)


def test_one_picture_alone(model, images):
    answers = model.eval()(images).argmax(1)
    done = Edda(partial(grad_cam, model))(model, images[:1], answers[:1], 0)
    assert joined(images[:1], done).shape == (3, 3, 12, 10)
