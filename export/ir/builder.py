"""Writing ONNX nodes as function calls: `op.Mul(a, b)` adds a node and returns its output's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from sise_rt.errors import ModelError

from .types import Shape, TensorType


class Builder:
    """Collects nodes and constants; knows the tensors of the network that it adds to.

    Args:
        prefix: every new name starts with it.
        types: the network's tensor types, read only.
        weights: the network's weights; `value` reads constants from it.
        dtype: the float type of new constants.
    """

    def __init__(
        self,
        prefix: str,
        types: Mapping[str, TensorType],
        weights: Mapping[str, np.ndarray],
        dtype: Any = np.float32,
    ):
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.dtype = np.dtype(dtype)
        self._prefix, self._types, self._weights = prefix, types, weights
        self._by_content: dict[tuple, str] = {}

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        """A function that adds one `op_type` node.

        Inputs come in order (None or "" for an absent one), attributes by keyword.
        `outputs=n` returns a tuple of n names, `names=(...)` sets the outputs' names.
        """
        if op_type.startswith("_"):
            raise AttributeError(op_type)

        def add(*inputs: str | None, outputs: int = 1, names: Sequence[str] = (), **attributes: Any) -> Any:
            stem = f"{self._prefix}{op_type}_{len(self.nodes)}"
            out = list(names) or [stem] if outputs == 1 else [f"{stem}_{i}" for i in range(outputs)]
            given = [name or "" for name in inputs]
            while given and not given[-1]:
                given.pop()
            attributes = {key: value for key, value in attributes.items() if value is not None}
            self.nodes.append(helper.make_node(op_type, given, out, name=stem, **attributes))
            return out[0] if outputs == 1 else tuple(out)

        return add

    def constant(self, value: Any) -> str:
        """The name of a constant: floats get the network's type, integers int64, arrays keep theirs."""
        array = value if isinstance(value, np.ndarray) else np.asarray(value)
        if not isinstance(value, np.ndarray):
            array = array.astype(np.int64 if array.dtype.kind in "iu" else self.dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._by_content:
            name = f"{self._prefix}constant_{len(self.constants)}"
            self.constants[name] = array
            self._by_content[key] = name
        return self._by_content[key]

    def shape(self, name: str) -> Shape:
        """The shape of a tensor of the network; None is the batch."""
        return self._types[name].shape

    def size(self, name: str, axis: int) -> int:
        """The extent of an axis that is not the batch."""
        extent = self.shape(name)[axis]
        if not isinstance(extent, int):
            raise ModelError(
                f"tensor '{name}': axis {axis} depends on the batch size, where a fixed extent is needed"
            )
        return extent

    def value(self, name: str) -> np.ndarray:
        """The value of a constant input."""
        if name not in self._weights:
            raise ModelError(f"tensor '{name}' is computed by the network, where a constant is needed")
        return np.asarray(self._weights[name])

    def reshape_like(self, g: str, x: str) -> str:
        """`g` in the shape of the network's tensor `x`, which has as many elements."""
        shape = self.shape(x)
        if shape.count(None) <= 1:
            return self.Reshape(
                g, self.constant([-1 if d is None else d for d in shape] or np.zeros(0, np.int64))
            )
        return self.Reshape(g, self.Shape(x))

    def sum_to(self, g: str, source: Shape, target: Shape) -> str:
        """Sum `g` of shape `source` over the axes along which `target` was broadcast to it."""
        lead = len(source) - len(target)
        axes = list(range(lead)) + [
            lead + i for i, d in enumerate(target) if d == 1 and source[lead + i] != 1
        ]
        if axes:
            g = self.ReduceSum(g, self.constant(axes), keepdims=1)
        return self.Squeeze(g, self.constant(list(range(lead)))) if lead else g
