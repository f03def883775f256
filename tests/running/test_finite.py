"""Numbers that are none are refused in one wording."""

import numpy as np
import pytest

from sise_rt.errors import ModelError
from sise_rt.running.finite import require_finite


def test_finite_numbers_pass():
    require_finite("logits", "for this image", np.zeros(3), np.zeros((0, 2)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_of_several_is_enough(value):
    with pytest.raises(ModelError, match=r"^the model's logits are not finite for this image$"):
        require_finite("logits", "for this image", np.zeros(3), np.array([[0.0, value]]))
