"""The kinds of origins, in the order in which they are asked what they say of a model."""

from __future__ import annotations

from collections.abc import Callable

from . import (
    custom_vision,
    hugging_face,
    labels_beside,
    openvino,
    properties,
    teachable_machine,
    timm,
    ultralytics,
    windows_ml,
)
from .description import Description
from .published import Published

# Each reads what lies around a model, and says what its files say; None where it is not of that kind.
KINDS: tuple[Callable[[Published], Description | None], ...] = (
    timm.describe,
    hugging_face.describe,
    ultralytics.describe,
    custom_vision.describe,
    windows_ml.describe,
    openvino.describe,
    teachable_machine.describe,
    labels_beside.describe,
    properties.describe,
)


def describe(published: Published) -> Description:
    """Everything that a model's own files say of it; where two contradict each other, it stays unsettled.

    Raises:
        ModelError: a file that should describe the model cannot be read.
    """
    whole = Description()
    for kind in KINDS:
        if (description := kind(published)) is not None:
            whole = whole.with_more(description)
    return whole
