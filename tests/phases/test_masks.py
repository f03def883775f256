"""Selection and constant maps: equations 7 and 8, and the decided guards."""

import numpy as np
import pytest

from sise_rt.phases.masks import constant_maps, select
from sise_rt.pictures.flatness import is_constant


@pytest.mark.parametrize(
    ("alpha", "mu", "kept"),
    [
        ([1.0, 0.5, 0.25, -1.0], 0.0, [True, True, True, False]),
        ([1.0, 0.5, 0.25, -1.0], 0.5, [True, False, False, False]),
        ([1.0, 0.5, 0.25, -1.0], 0.25, [True, True, False, False]),
        ([0.0, 0.0, -1.0, -2.0], 0.0, [False] * 4),
        ([-1.0, -2.0, -3.0, -4.0], 0.9, [False] * 4),
        ([2.0, 2.0, 2.0, 2.0], 0.99, [True] * 4),
        ([1e-38, 0.0, 0.0, 0.0], 0.0, [True, False, False, False]),
        ([1.0, 0.5, 0.0, 0.0], 0.99999999, [True, False, False, False]),
    ],
    ids=[
        "mu 0",
        "strict at the threshold",
        "strict below",
        "zero",
        "all negative",
        "ties",
        "tiny",
        "mu near 1",
    ],
)
def test_selection(alpha, mu, kept):
    assert select(np.array(alpha, np.float32), mu).tolist() == kept


@pytest.mark.parametrize("mu", [-0.1, 1.0, 2.0, float("nan"), float("inf")])
def test_mu_out_of_range(mu):
    with pytest.raises(ValueError, match="0 <= mu < 1"):
        select(np.ones(3), mu)


@pytest.mark.parametrize(
    ("low", "high", "constant"),
    [
        (0.0, 0.0, True),
        (0.0, 0.9e-6, True),
        (0.0, 1.1e-6, False),
        (1000.0, 1000.0009, True),
        (1000.0, 1000.0011, False),
        (-1000.0, -1000.0, True),
        (-5.0, 0.0, False),
    ],
)
def test_a_constant_is_judged_by_its_range(low, high, constant):
    assert is_constant(np.array([low]), np.array([high])).tolist() == [constant]


def test_constant_maps():
    maps = np.zeros((3, 4, 5), np.float32)
    maps[1] = 7
    maps[2, 3, 4] = 1e-3
    assert constant_maps(maps).tolist() == [True, True, False]
