"""Alignment by its definition, the metrics of `sise_rt.metrics`, and bad input."""

import numpy as np
import pytest
import torch
from torch import nn

from sise_rt.errors import ArgumentError, ModelError
from sise_rt.metrics import deletion
from sise_rt.training.faithfulness import alignment, confidence_in, faithfulness


class Sum(nn.Module):
    """Looks at the upper left quarter alone: its mean times 8, against 0."""

    def forward(self, images):
        seen = images[:, 0, :4, :4].mean((1, 2)) * 8
        return torch.stack([seen, torch.zeros_like(seen)], 1)


def quarter(sign=1.0):
    map_ = np.zeros((8, 8))
    map_[:4, :4] = sign * np.arange(1, 17).reshape(4, 4)
    return map_


def test_alignment_is_its_definition():
    image = np.ones((1, 8, 8), np.float32)
    found = alignment(quarter(), image, confidence_in(Sum(), 0), (0.125, 0.25))
    sure = 1 / (1 + np.exp(-8.0))
    # Hiding n of the 16 pixels leaves (16 - n) / 16 of the mean; the lowest lie where nothing is looked at.
    expected = [sure - 1 / (1 + np.exp(-8 * (16 - n) / 16)) for n in (8, 16)]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    other = alignment(quarter(-1), image, confidence_in(Sum(), 0), (0.125, 0.25))
    np.testing.assert_allclose(other, -found, atol=1e-6)


def test_both_sides_hide_equally_many_pixels():
    seen = []

    def confidence(images):
        seen.extend((images[:, 0] == 0).sum(axis=(1, 2)).tolist())
        return np.full(len(images), 0.5)

    areas = (0.1, 0.2, 0.3, 0.5)
    assert (alignment(np.zeros((10, 9)), np.ones((1, 10, 9), np.float32), confidence, areas) == 0).all()
    assert seen == [count for area in areas for count in [round(area * 90)] * 2]


@pytest.mark.parametrize("area", [0, 0.6, -1, 1e-4, np.nan])
def test_areas_that_are_none_are_refused(area):
    with pytest.raises(ArgumentError, match="area is"):
        alignment(quarter(), np.ones((1, 8, 8), np.float32), confidence_in(Sum(), 0), (area,))


def test_means_over_pictures_and_what_is_flat():
    images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    maps = torch.from_numpy(np.stack([quarter(), quarter(), quarter(-1), np.ones((8, 8))])).float()
    labels = torch.tensor([0, 1, 0, 0])
    model = Sum()
    found = faithfulness(model, images, labels, maps, areas=(0.25,))
    each = [
        alignment(map_, image, confidence_in(model, label), (0.25,))[0]
        for map_, image, label in list(zip(maps.numpy(), images.numpy(), labels.tolist(), strict=True))[:3]
    ]
    assert (found.pictures, found.flat) == (3, 1)
    assert found.alignment[0.25] == pytest.approx(np.mean(each), abs=1e-12)
    assert set(found.values) == {"drop", "increase", "insertion", "deletion"}
    curves = [
        deletion(map_, image, confidence_in(model, label), step=3).auc
        for map_, image, label in list(zip(maps.numpy(), images.numpy(), labels.tolist(), strict=True))[:3]
    ]
    assert found.values["deletion"] == pytest.approx(np.mean(curves), abs=1e-12)


def test_of_flat_maps_alone_there_is_no_mean():
    found = faithfulness(Sum(), torch.ones(2, 1, 8, 8), torch.tensor([0, 1]), torch.zeros(2, 8, 8))
    assert (found.pictures, found.flat) == (0, 2)
    assert all(np.isnan(value) for value in (*found.alignment.values(), *found.values.values()))


def test_sigmoids_have_confidences_of_their_own():
    images = np.ones((2, 1, 8, 8), np.float32)
    np.testing.assert_allclose(confidence_in(Sum(), 1, "sigmoid")(images), 0.5)
    with pytest.raises(ArgumentError, match="activation is 'none'"):
        confidence_in(Sum(), 0, "none")


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"labels": torch.tensor([0, 2])}, ArgumentError, "no output 2"),
        ({"labels": torch.tensor([0, -1])}, ArgumentError, "label -1"),
        ({"images": torch.full((2, 1, 8, 8), torch.nan)}, ArgumentError, "not finite"),
        ({"maps": torch.zeros(2, 4, 4)}, ArgumentError, "maps have shape"),
        ({"images": torch.full((2, 1, 8, 8), 3e38)}, ModelError, "diverged"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, error, told):
    maps = torch.from_numpy(np.stack([quarter()] * 2)).float()
    given = {"images": torch.ones(2, 1, 8, 8), "labels": torch.tensor([0, 1]), "maps": maps} | change
    with pytest.raises(error, match=told):
        faithfulness(Sum(), **given)
