"""What a tensor's values can be whatever the image is: intervals, from the operators behind the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf

import numpy as np
import onnx

from ..ir.network import Network
from ..ir.nodes import attribute

Interval = tuple[float, float]
FREE: Interval = (-inf, inf)

# Each value of the output is a value of the input, or lies between some.
KEEPING = frozenset(
    "Cast Dropout Expand Flatten Gather GatherElements GatherND GlobalAveragePool GlobalMaxPool Identity "
    "MaxPool ReduceMax ReduceMean ReduceMin Reshape Slice Split Squeeze Tile Transpose Unsqueeze".split()
)
# Sums of products with weights, and what centres and scales: they bound nothing.
WEIGHING = frozenset(
    "BatchNormalization Conv ConvInteger ConvTranspose Einsum Gemm GroupNormalization InstanceNormalization "
    "LayerNormalization LpNormalization MatMul MatMulInteger QLinearConv QLinearMatMul "
    "RMSNormalization".split()
)
FIXED: Mapping[str, Interval] = {
    "Cos": (-1, 1),
    "Erf": (-1, 1),
    "HardSigmoid": (0, 1),
    "LogSoftmax": (-inf, 0),
    "Sigmoid": (0, 1),
    "Sin": (-1, 1),
    "Softmax": (0, 1),
    "Softsign": (-1, 1),
    "Tanh": (-1, 1),
}
RISING: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "Ceil": np.ceil,
    "Exp": np.exp,
    "Floor": np.floor,
    "Log": lambda x: np.log(np.maximum(x, 0)),
    "Relu": lambda x: np.maximum(x, 0),
    "Round": np.round,
    "Softplus": lambda x: np.logaddexp(x, 0),
    "Sqrt": lambda x: np.sqrt(np.maximum(x, 0)),
}
ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: 0.0 if a == 0 or b == 0 else a * b,
}


def output_bounds(network: Network) -> Interval | None:
    """The interval that the output cannot leave; None if an operator behind the weights is not known."""
    return tensor_bounds(network, "logits")


def tensor_bounds(network: Network, name: str) -> Interval | None:
    """Likewise of any tensor."""
    producers = {name: node for node in network.graph.nodes for name in node.output}
    return _Bounds(network, producers).of(name)


class _Bounds:
    """The intervals of tensors, each worked out once."""

    def __init__(self, network: Network, producers: Mapping[str, onnx.NodeProto]):
        self._network, self._producers = network, producers
        self._known: dict[str, Interval | None] = {}

    def of(self, name: str) -> Interval | None:
        """The interval of a tensor."""
        if name not in self._known:
            with np.errstate(all="ignore"):
                self._known[name] = self._worked_out(name)
        return self._known[name]

    def _worked_out(self, name: str) -> Interval | None:
        value = self._network.weights.get(name)
        if value is not None:
            return (float(value.min()), float(value.max())) if value.size else None
        if name not in self._producers:  # the image
            return FREE
        node = self._producers[name]
        kind = node.op_type
        if node.domain not in ("", "ai.onnx"):
            return None
        if kind in FIXED:
            return FIXED[kind]
        if kind in WEIGHING:
            return self._weighed(node)
        if kind == "DequantizeLinear":
            return self._dequantised(node)
        if kind == "Where":
            return _hull([self.of(given) for given in node.input[1:]])
        if kind == "Clip":
            return self._clipped(node)
        if kind in ("Concat", "Max", "Min", "Mean", "Sum", "Div", "Pow", *ARITHMETIC):
            return self._joined(node, [self.of(given) for given in node.input])
        return self._of_one(node)

    def _of_one(self, node: onnx.NodeProto) -> Interval | None:
        """Of an operator of one input that counts."""
        given = self.of(node.input[0]) if node.input else None
        if given is None:
            return None
        low, high = given
        if node.op_type in KEEPING:
            return given
        if node.op_type in RISING:
            ends = RISING[node.op_type](np.array(given))
            return float(ends[0]), float(ends[1])
        if node.op_type == "Neg":
            return -high, -low
        if node.op_type == "Abs":
            return max(low, -high, 0.0), max(-low, high)
        if node.op_type in ("AveragePool", "Pad"):  # zeros may come from beyond the border
            filled = node.op_type == "AveragePool" or len(node.input) < 3 or not node.input[2]
            return _hull([given, (0.0, 0.0) if filled else self.of(node.input[2])])
        if node.op_type == "Reciprocal" and (low > 0 or high < 0):
            return 1 / high, 1 / low
        if node.op_type == "Reciprocal" and low == 0:
            return (1 / high if high else inf), inf
        return None

    def _joined(self, node: onnx.NodeProto, given: Sequence[Interval | None]) -> Interval | None:
        """Of an operator of several inputs that count alike."""
        ends = [interval for interval in given if interval is not None]
        if len(ends) < len(given):
            return None
        lows, highs = zip(*ends, strict=True)
        if node.op_type in ("Concat", "Mean"):
            return min(lows), max(highs)
        if node.op_type in ("Max", "Min"):
            pick = max if node.op_type == "Max" else min
            return pick(lows), pick(highs)
        if node.op_type == "Sum":
            return sum(lows), sum(highs)
        (a, b), (c, d) = ends
        if node.op_type == "Pow":
            powers = [x**y for x in (a, b) for y in (c, d)] if a >= 0 and c > 0 else []
            return (min(powers), max(powers)) if powers else FREE
        if node.op_type == "Div":
            if not (c >= 0 or d < 0) or d == 0:
                return FREE
            c, d = 1 / d, (1 / c if c else inf)
        join = ARITHMETIC["Mul" if node.op_type == "Div" else node.op_type]
        corners = [join(x, y) for x in (a, b) for y in (c, d)]
        return FREE if any(np.isnan(corners)) else (min(corners), max(corners))

    def _clipped(self, node: onnx.NodeProto) -> Interval | None:
        given = self.of(node.input[0])
        least, most = (
            self.of(node.input[i]) if len(node.input) > i and node.input[i] else FREE for i in (1, 2)
        )
        if least is None or most is None:
            return None
        low, high = given or FREE
        return min(max(low, least[0]), most[1]), min(max(high, least[0]), most[1])

    def _dequantised(self, node: onnx.NodeProto) -> Interval | None:
        """Of the steps that a quantised tensor is rounded to."""
        before = self._producers.get(node.input[0])
        if before is None or before.op_type != "QuantizeLinear":
            return FREE
        given = self.of(before.input[0])
        scale = self._network.weights.get(node.input[1])
        zero = self._network.weights.get(node.input[2]) if len(node.input) > 2 else np.zeros(1, np.uint8)
        if given is None or scale is None or zero is None or scale.size != 1:
            return given
        kind = np.dtype(zero.dtype)
        if kind.kind not in "iu":
            return given
        step, offset, limits = float(scale.ravel()[0]), float(zero.ravel()[0]), np.iinfo(kind)

        def rounded(end: float) -> float:
            # A range that was calibrated bounds nothing: what is free stays free.
            steps = min(max(round(end / step) + offset, limits.min), limits.max) if abs(end) < inf else 0
            return (steps - offset) * step if abs(end) < inf else end

        return rounded(given[0]), rounded(given[1])

    def _weighed(self, node: onnx.NodeProto) -> Interval:
        """Of a product with weights: what it mixes may be bounded, as where an ensemble is averaged."""
        weight = self._network.weights.get(node.input[1]) if len(node.input) > 1 else None
        if node.op_type not in ("Gemm", "MatMul") or weight is None or weight.ndim != 2:
            return FREE
        given = self.of(node.input[0])
        if given is None or inf in (-given[0], given[1]):
            return FREE
        weight = np.asarray(weight.T if attribute(node, "transB", 0) else weight, np.float64)
        weight = weight * attribute(node, "alpha", 1.0)
        up, down = np.maximum(weight, 0).sum(axis=0), np.minimum(weight, 0).sum(axis=0)
        low, high = given[0] * up + given[1] * down, given[1] * up + given[0] * down
        if node.op_type == "Gemm" and len(node.input) > 2 and node.input[2]:
            bias = self._network.weights.get(node.input[2])
            if bias is None:
                return FREE
            bias = np.asarray(bias, np.float64) * attribute(node, "beta", 1.0)
            low, high = low + bias, high + bias
        return float(low.min()), float(high.max())


def _hull(given: Sequence[Interval | None]) -> Interval | None:
    ends = [interval for interval in given if interval is not None]
    if len(ends) < len(given):
        return None
    return min(low for low, _ in ends), max(high for _, high in ends)
