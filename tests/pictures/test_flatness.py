"""Which maps are flat."""

import numpy as np

from sise_rt.pictures.flatness import CONSTANT, is_almost_constant, is_constant


def test_flatness_is_a_share_of_the_largest_value():
    for largest in (0.5, 1.0, 1000.0):
        width = CONSTANT * max(1, largest)
        for times, flat, almost in ((0.5, True, True), (1.5, False, True), (2.5, False, False)):
            map_ = np.array([[largest - times * width, largest]])
            assert bool(is_constant(map_.min(), map_.max())) is flat
            assert is_almost_constant(map_) is almost
