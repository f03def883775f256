"""Bounds on what a model asks for, enforced before ONNX Runtime makes it: input, constants, every tensor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper, shape_inference

from sise_rt.errors import ModelError

from ..ir.nodes import operator

SIZE = 224  # of a side of the picture, where nobody says otherwise
MOST_VALUES = 100_000_000  # of an input, channels included; far beyond any classifier's
KERNEL = 1 << 16  # of an integer that describes a kernel, its padding or a count
MOST = 1 << 24  # of an integer that decides a size
FACTOR = 1 << 20  # of an integer that others are multiplied by
ELEMENTS = 1 << 24  # of a tensor, where the input is small; a picture of 224x224 pixels has 2^17 values
MADE = 1 << 27  # of all weights together that the graph makes itself; VGG-19's largest has 102,760,448
PER_VALUE = 256  # elements of a tensor for each value of the input, where that is large
SMALL = 1024  # elements; larger weights decide no size and are left out of the inference

# Which inputs decide how large the output is.
DECIDING: dict[str, tuple[int, ...]] = {
    **dict.fromkeys("BlackmanWindow ConstantOfShape HammingWindow HannWindow".split(), (0,)),
    **dict.fromkeys("AffineGrid CenterCropPad DFT Expand OneHot Pad Tile TopK Upsample".split(), (1,)),
    **dict.fromkeys("MelWeightMatrix Range".split(), (0, 1, 2)),
    "Col2Im": (1, 2),
    "MaxUnpool": (2,),
    "Resize": (2, 3),
    "STFT": (1, 3),
}
Constants = Mapping[str, TensorProto]


def check_size(channels: int, height: int, width: int) -> None:
    """Refuse an input that no memory holds, before it is made.

    Raises:
        ModelError: it has more than MOST_VALUES values.
    """
    if channels * height * width > MOST_VALUES:
        raise ModelError(
            f"an input of {channels} channels and {height}x{width} pixels has more than "
            f"{MOST_VALUES / 1e6:.0f} million values: choose a smaller input size",
            settings=("input_size",),
        )


def check_sizes(model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Refuse what would have ONNX Runtime fill the memory, be it while it folds constants or when it runs.

    Args:
        model: extents that are declared as 0 or -1 become free, in place.
        nodes: the model's, those in subgraphs included.

    Raises:
        ModelError: a node or an input is too large, or nothing is left of the image.
    """
    constants = {w.name: w for w in model.graph.initializer}
    for node in nodes:
        if operator(node) == "Constant" and len(node.attribute) == 1:
            value = helper.get_attribute_value(node.attribute[0])
            if isinstance(value, (int, float, list)):
                value = numpy_helper.from_array(np.array(value))
            if isinstance(value, TensorProto):
                constants[node.output[0]] = value
    for node in nodes:
        operands = [name for i, name in enumerate(node.input) if i in DECIDING.get(operator(node), ())]
        values = [_value(constants[name]) for name in operands if name in constants]
        most = KERNEL if operator(node) == "Pad" else MOST
        if any(value.size and not np.all(np.abs(value) <= most) for value in values):  # so phrased for NaN
            raise ModelError(f"{located(node)} asks for an absurdly large tensor: {operands}")
        _check_arithmetic(node, constants)
        if operator(node) == "Range" and len(values) == 3 and not _count(values) <= MOST:
            raise ModelError(f"{located(node)} counts through more than {MOST} values, or for ever")
    _forget_free(model)
    limit = max(ELEMENTS, *(prod(tensor.dims) for tensor in constants.values()), 0)
    for value in model.graph.input:
        if value.name not in constants:
            count = prod(_dims(_sized(value)))
            limit = max(limit, PER_VALUE * count)
            if count > MOST_VALUES:
                raise ModelError(f"input {value.name[:100]!r} is absurdly large, {_dims(_sized(value))[:9]}")
    fixed, made = set(constants) | {value.name for value in model.graph.initializer}, 0
    for node, shape in _shapes(model, constants):
        if fixed.issuperset(name for name in node.input if name):
            fixed.update(node.output)
            made += prod(shape) if prod(shape) > limit else 0
        if prod(shape) > limit and (node.output[0] not in fixed or made > MADE):
            raise ModelError(f"{located(node)} gives an absurdly large tensor, {shape[:9]}")


def _check_arithmetic(node: onnx.NodeProto, constants: Constants) -> None:
    """Refuse what makes sizes absurd, or ends ONNX Runtime 1.31's process: the smallest integer by -1."""
    for name in node.input[:2]:
        if name not in constants or helper.tensor_dtype_to_np_dtype(constants[name].data_type).kind != "i":
            continue
        value, kind = _value(constants[name]), operator(node)
        if kind in ("Mul", "Pow") and np.abs(value).max(initial=0) >= FACTOR:
            raise ModelError(f"{located(node)} multiplies whole numbers by absurdly large ones: {name!r}")
        if kind in ("Div", "Mod") and name == node.input[1] and -1 in value:
            raise ModelError(f"{located(node)} divides whole numbers by -1: use Neg")
        if kind == "SplitToSequence" and name == node.input[1] and value.min(initial=1) < 1:
            raise ModelError(f"{located(node)} splits into pieces of no length")


def located(node: onnx.NodeProto) -> str:
    """A node as messages name it."""
    return f"node {(node.name or next(iter(node.output), ''))[:100]!r} ({operator(node)[:100]})"


def _count(values: Sequence[np.ndarray]) -> float:
    start, end, step = (float(value.reshape(-1)[0]) if value.size else np.nan for value in values)
    return (end - start) / step if step else np.inf


def _value(tensor: TensorProto) -> np.ndarray:
    """A small constant's numbers, empty for any other one; `check_model` saw that it is sound."""
    if tensor.data_location == TensorProto.EXTERNAL or prod(tensor.dims) > SMALL:
        return np.empty(0)
    value = numpy_helper.to_array(tensor)
    return value.astype(np.float64) if value.dtype.kind in "iuf" else np.empty(0)


def _forget_free(model: onnx.ModelProto) -> None:
    """Let extents that are declared as 0 or -1 be free, which is what some exporters mean by them."""
    weights = {w.name for w in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim if value.name not in weights else ():
            if dim.HasField("dim_value") and dim.dim_value <= 0:
                dim.ClearField("dim_value")


def _shapes(model: onnx.ModelProto, constants: Constants) -> Iterator[tuple[onnx.NodeProto, list[int]]]:
    """Each node and a shape it gives, where that follows from the input's; free extents count as SIZE.

    Node by node: onnx's inference of whole graphs goes on with extents below 0, and aborts the process.
    """
    types = {value.name: _sized(value) for value in model.graph.input}
    fixed = all(dim.dim_value for value in model.graph.input for dim in value.type.tensor_type.shape.dim[1:])
    for weight in model.graph.initializer:
        types[weight.name] = helper.make_tensor_type_proto(weight.data_type, weight.dims)
    opsets = {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}
    for node in model.graph.node:
        given = {name: types[name] for name in node.input if name in types}
        if node.op_type == "Slice" and any(_is_empty(kind) for kind in given.values()):
            continue  # it may step backwards, which aborts as well
        data = {name: constants[name] for name in node.input if name in constants}
        small = {
            n: w for n, w in data.items() if w.data_location != TensorProto.EXTERNAL and prod(w.dims) <= SMALL
        }
        try:
            schema = defs.get_schema(node.op_type, opsets[node.domain], node.domain)
            inferred = shape_inference.infer_node_outputs(
                schema,
                node,
                given,
                small,
                opset_imports=list(model.opset_import),
                ir_version=model.ir_version,
            )
        except Exception:
            continue  # another domain, control flow, a size unlike SIZE; ONNX Runtime refuses what is wrong
        for name, kind in inferred.items():
            shape = _dims(kind)
            maps = len(shape) == 4  # without a position they are none; other ranks may be empty lists
            if min(shape, default=0) >= 0 and not (maps and _is_empty(kind)):
                types[name] = kind
                yield node, shape
            elif fixed:
                raise ModelError(f"{located(node)} leaves nothing of its input: its shape would be {shape}")


def _sized(value: onnx.ValueInfoProto) -> onnx.TypeProto:
    """The type of an input for one picture of a size that is fixed, or SIZE."""
    kind = onnx.TypeProto()
    kind.CopyFrom(value.type)
    for i, dim in enumerate(kind.tensor_type.shape.dim):
        if not dim.dim_value:
            dim.dim_value = SIZE if i else 1
    return kind


def _dims(kind: onnx.TypeProto) -> list[int]:
    """The extents, 0 where they are not known."""
    return [dim.dim_value for dim in kind.tensor_type.shape.dim]


def _is_empty(kind: onnx.TypeProto) -> bool:
    """Whether an extent is known to be 0."""
    return any(dim.HasField("dim_value") and not dim.dim_value for dim in kind.tensor_type.shape.dim)
