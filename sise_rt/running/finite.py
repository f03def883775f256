"""Numbers of a model that are none."""

from __future__ import annotations

import numpy as np

from sise_rt.errors import ModelError


def require_finite(what: str, where: str, *values: np.ndarray) -> None:
    """Refuse NaN and infinity among a model's numbers, which no explanation may be made of.

    Args:
        what: the numbers, in the plural, as `logits`.
        where: as `for this image`.
        values: of any shape.

    Raises:
        ModelError: says both.
    """
    if not all(np.isfinite(value).all() for value in values):
        raise ModelError(f"the model's {what} are not finite {where}")
