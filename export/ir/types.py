"""The type of a tensor: that of its elements, and its shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import helper

Dim = int | str | None  # None is the batch; a name is another free extent
Shape = tuple[Dim, ...]


@dataclass(frozen=True)
class TensorType:
    """Element type (an `onnx.TensorProto` code) and shape of a tensor; None is the batch dimension."""

    element: int
    shape: Shape

    @property
    def dtype(self) -> np.dtype:
        """The NumPy type of the elements."""
        return helper.tensor_dtype_to_np_dtype(self.element)
