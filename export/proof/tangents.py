"""Derivatives along a direction, measured operator by operator: what the gradient rules are judged by.

A direction at a network's input is carried forward through every node by central differences of that node
alone, at the values that its inputs have in the network's own run. No step is longer than one operator: a
perturbation that is a millionth of a unit cannot cross the kink of a unit ten layers later, drown in the
rounding of float32, or leave the domain of a power. It needs forward passes alone, and no gradient rule.

Operators that are linear, or linear in each of two inputs, have exact central differences at any step and are
run in float32. The others are run in float64, by ONNX Runtime or by ONNX's reference implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sise_rt.errors import ModelError

from ..ir.cpu_sessions import Level, open_session, quiet_options

# Linear in what moves, or in each of two inputs that move: central differences are exact at any step.
BILINEAR = frozenset(
    "AveragePool BatchNormalization Cast CastLike Concat Conv ConvTranspose DepthToSpace Einsum Expand "
    "Flatten Gather Gemm GlobalAveragePool Identity MatMul Pad Reshape Resize Slice SpaceToDepth Split "
    "Squeeze Transpose Unsqueeze Upsample".split()
)
# Element-wise, and steep at zero, where a tensor's small values may be far smaller than the others.
STEEP = frozenset("Div Log Pow Reciprocal Sqrt".split())
NEAR = 1e-4  # of an element
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
SAMPLE = 4096  # elements that tell how large a tensor's values are
MASK = 1e6  # values from here on hide others, and tell nothing of their size
IN_SINGLE = 1e-2  # the step of operators that run in float32 only, which is extrapolated to none

Evaluate = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]
Run = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Way:
    """How a slope is measured.

    Attributes:
        step: relative to the size of an operator's inputs, in float64.
        side: `both` for central differences. Where a unit lies on its kink the slopes to either side differ;
            `least` and `most` take the one-sided slope that is nearer to zero, and the other.
    """

    step: float = 1e-7
    side: str = "both"


def carry(
    nodes: Sequence[onnx.NodeProto],
    opsets: Mapping[str, int],
    values: Run,
    tangents: Run,
    wanted: str,
    way: Way,
) -> np.ndarray:
    """The derivative of a tensor along a direction.

    Args:
        nodes: in topological order.
        opsets: versions by domain.
        values: of every tensor that a node reads or gives, weights included.
        tangents: the direction: by tensor, of the tensor's shape.
        wanted: the tensor.
        way: of measuring.

    Returns:
        float64, of the tensor's shape; zero where it does not depend on the direction.

    Raises:
        ModelError: an operator cannot be run by itself.
    """
    last = {name: i for i, node in enumerate(nodes) for name in node.input}
    along = {name: np.asarray(t, np.float64) for name, t in tangents.items()}
    for i, node in enumerate(nodes):
        moving = {name for name in node.input if name in along}
        if moving and any(name in values and values[name].dtype in FLOATS for name in node.output):
            for name, slope in zip(node.output, _slopes(node, opsets, values, along, way), strict=True):
                if name and slope is not None and slope.any():
                    along[name] = slope
        for name in moving:
            if last[name] == i and name != wanted:
                del along[name]
    return along.get(wanted, np.zeros(values[wanted].shape))


def _slopes(
    node: onnx.NodeProto, opsets: Mapping[str, int], values: Run, along: Run, way: Way
) -> list[np.ndarray | None]:
    """The derivatives of a node's outputs along those of its inputs; None where they are no floats."""
    inputs = {name: values[name] for name in node.input if name}
    moving = [name for name in inputs if name in along]
    scale = _size([inputs[name] for name in moving]) / _size([along[name] for name in moving])
    outputs = [values.get(name) for name in node.output]
    if node.op_type in BILINEAR:
        ((evaluate, _),) = _evaluators(node, opsets, inputs, moving, single=True)
        slopes = _central(evaluate, inputs, along, moving, scale, np.float32)
    else:
        slopes = _curved(node, opsets, inputs, along, moving, scale, way)
    return [
        None if value is None or value.dtype not in FLOATS else slope
        for value, slope in zip(outputs, slopes, strict=True)
    ]


def _curved(
    node: onnx.NodeProto,
    opsets: Mapping[str, int],
    inputs: Run,
    along: Run,
    moving: Sequence[str],
    scale: float,
    way: Way,
) -> list[np.ndarray]:
    """Slopes in float64, and in float32 extrapolated to no step where there is no other kernel."""
    failed: Exception | None = None
    for evaluate, dtype in _evaluators(node, opsets, inputs, moving, single=False):
        try:
            if dtype == np.float64 and node.op_type in STEEP:
                parts = [
                    _steep(evaluate, inputs, along[name], name, way.step * scale, way.side) for name in moving
                ]
                return [np.sum(parts, axis=0)]
            if dtype == np.float64:
                return _central(evaluate, inputs, along, moving, way.step * scale, dtype, way.side)
            long, short = (
                _central(evaluate, inputs, along, moving, step * scale, dtype, way.side)
                for step in (IN_SINGLE, IN_SINGLE / 2)
            )
            return [(4 * b - a) / 3 for a, b in zip(long, short, strict=True)]
        except Exception as error:  # reference implementations raise what they like
            failed = error
    raise ModelError(f"node {node.name!r} ({node.op_type}) cannot be run by itself") from failed


def _steep(
    evaluate: Evaluate, inputs: Run, direction: np.ndarray, name: str, step: float, side: str
) -> np.ndarray:
    """The slope of an element-wise operator along one input, by a step that is small beside each element."""
    size = np.abs(inputs[name].astype(np.float64))
    length = step * np.abs(direction)
    share = np.ones(size.shape)
    np.divide(NEAR * size, length, out=share, where=(length > NEAR * size) & (size > 0))
    (slope,) = _central(evaluate, inputs, {name: share * direction}, [name], step, np.float64, side)
    return slope / share


def _size(arrays: Sequence[np.ndarray]) -> float:
    """How large the values are that are not zero, in the mean; masks of -1e9 do not count."""
    parts = [a.reshape(-1)[:: max(1, a.size // SAMPLE)] for a in arrays]
    sample = np.abs(np.concatenate(parts).astype(np.float64))
    sample = sample[np.isfinite(sample) & (sample > 0)]
    usual = sample[sample < MASK]
    return float(np.mean(usual if usual.size else sample)) if sample.size else 1.0


def _central(
    evaluate: Evaluate,
    inputs: Run,
    along: Run,
    moving: Sequence[str],
    step: float,
    dtype: Any,
    side: str = "both",
) -> list[np.ndarray]:
    """Differences over a step, two-sided where there are values on both sides."""
    exact = {name: _as(value, dtype) for name, value in inputs.items()}

    def at(sign: int) -> list[np.ndarray]:
        moved = {name: (exact[name] + sign * step * along[name]).astype(dtype) for name in moving}
        return [np.asarray(v) for v in evaluate(exact | moved)]

    with np.errstate(all="ignore"):
        ahead, back = at(1), at(-1)
        two_sided = [_difference(a, b) / (2 * step) for a, b in zip(ahead, back, strict=True)]
        if side == "both" and all(np.isfinite(slope).all() for slope in two_sided):
            return two_sided
        here = at(0)
        sides = [
            (_difference(a, h) / step, _difference(h, b) / step)
            for a, b, h in zip(ahead, back, here, strict=True)
        ]
    return [_chosen(slope, *pair, side) for slope, pair in zip(two_sided, sides, strict=True)]


def _chosen(two_sided: np.ndarray, right: np.ndarray, left: np.ndarray, side: str) -> np.ndarray:
    """The slopes of a side; where one side is outside the operator's domain, those of the other."""
    nearer = np.abs(right) <= np.abs(left)
    choices = {
        "both": two_sided,
        "least": np.where(nearer, right, left),
        "most": np.where(nearer, left, right),
    }
    one_sided = np.where(np.isfinite(right), right, left)
    return np.where(np.isfinite(left) & np.isfinite(right), choices[side], one_sided)


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The difference a - b in float64; infinities that stay what they are do not move."""
    return np.where(a == b, 0.0, a.astype(np.float64) - b.astype(np.float64))


def _as(value: np.ndarray, dtype: Any) -> np.ndarray:
    return value.astype(dtype) if value.dtype in FLOATS else value


def _evaluators(
    node: onnx.NodeProto, opsets: Mapping[str, int], inputs: Run, moving: Sequence[str], single: bool
) -> Iterator[tuple[Evaluate, Any]]:
    """What runs the node, the best first, and the floats that it takes."""
    if not single:
        double = _alone(node, opsets, inputs, moving, np.float64)
        try:
            yield _by_runtime(double), np.float64
        except ModelError:  # it has no kernel for doubles
            pass
        if not (node.domain or node.op_type == "Erf"):  # in Python, an element at a time
            yield _by_reference(double), np.float64
    yield _by_runtime(_alone(node, opsets, inputs, moving, np.float32)), np.float32


def _alone(
    node: onnx.NodeProto, opsets: Mapping[str, int], inputs: Run, moving: Sequence[str], dtype: Any
) -> onnx.ModelProto:
    """The node as a model; what is no float is a constant of it."""
    given, constants = [], []
    for name, value in inputs.items():
        typed = _as(value, dtype)
        if name in moving or value.dtype in FLOATS:
            element = helper.np_dtype_to_tensor_dtype(typed.dtype)
            given.append(helper.make_tensor_value_info(name, element, list(value.shape)))
        else:
            constants.append(numpy_helper.from_array(typed, name))
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "node", given, outputs, constants)
    versions = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = helper.make_model(graph, opset_imports=versions)
    model.ir_version = helper.find_min_ir_version_for(versions, ignore_unknown=True)
    return model


def _by_runtime(model: onnx.ModelProto) -> Evaluate:
    options = quiet_options(Level.ORT_DISABLE_ALL)
    session = open_session(model.SerializeToString(), options)
    names = [value.name for value in session.get_inputs()]
    return lambda values: _placed(model, session.run(None, {name: values[name] for name in names}))


def _by_reference(model: onnx.ModelProto) -> Evaluate:
    from onnx.reference import ReferenceEvaluator

    typed = onnx.shape_inference.infer_shapes(model)
    names = [value.name for value in model.graph.input]

    def evaluate(values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        outputs: Any = ReferenceEvaluator(typed).run(None, {name: values[name] for name in names})
        return _placed(model, outputs)

    return evaluate


def _placed(model: onnx.ModelProto, outputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs by their places in the node, empty ones where it gives none."""
    rest = iter(outputs)
    return [next(rest) if name else np.zeros(0) for name in model.graph.node[0].output]
