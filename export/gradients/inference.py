"""What is known of any ONNX model before it runs: types, shapes around a free batch, constant values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from sise_rt.errors import ModelError

from ..canonical.shapes import BATCHES
from ..ir.cpu_sessions import Level, open_session, quiet_options
from ..ir.messages import gist
from ..ir.network import OWN_PREFIX, SHAPE_READERS, needed
from ..ir.nodes import RANDOM, attribute, fresh, operator, reads, subgraphs
from ..ir.types import Shape, TensorType

SMALL = 1024  # elements; larger weights cannot decide a shape and are left out of the inference
KEEP_SHAPE = frozenset({"GroupNormalization", "MeanVarianceNormalization"})  # where onnx's inference gives up


class Types(dict[str, TensorType]):
    """Types by tensor name; asking for one that is not known is a `ModelError`."""

    def __missing__(self, name: str) -> TensorType:
        raise unknown_shape(name)


@dataclass(frozen=True)
class Inferred:
    """The types and shapes of a model's tensors, as far as they follow from its inputs.

    Attributes:
        elements: element types (`onnx.TensorProto` codes).
        types: of tensors whose every dimension is fixed or follows the batch (None).
        dims: shapes of known rank: the batch's name where a dimension is the batch, None where it is free.
        runs: the shapes at each batch size, None where a dimension is free.
    """

    elements: dict[str, int]
    types: Types
    dims: dict[str, Shape]
    runs: list[dict[str, Shape]]

    def declared(self, name: str, tensor: str) -> onnx.ValueInfoProto:
        """`name` as an input or output with the type and shape of `tensor`."""
        return helper.make_tensor_value_info(name, self.elements[tensor], self.dims[tensor])


def unknown_shape(name: str) -> ModelError:
    """The error of a tensor whose shape is not known before the model runs."""
    return ModelError(
        f"the shape of tensor {name!r} is not known before the model runs: give every input a fixed shape "
        "(python -m onnxruntime.tools.make_dynamic_shape_fixed); one leading batch dimension may stay free"
    )


# ---------------------------------------------------------------------------------------------- shapes


def infer(model: onnx.ModelProto, output: str) -> Inferred:
    """Infer the type and shape of every tensor.

    The free leading dimension of the first input that `output` needs is the batch. Inference runs with two
    batch sizes; what differs follows the batch. An unnamed batch gets a name in `model`.

    Raises:
        ModelError: the model's shapes contradict each other.
    """
    batch = _name_batch(model, output)
    light = _without_weights(model)
    elements: dict[str, int] = {}
    runs = [_run(light, batch, size, elements) for size in (BATCHES if batch else BATCHES[:1])]
    types, dims = Types(), {}
    for name in runs[0]:
        both = [run[name] for run in runs if name in run]
        if len(both) < len(runs) or len({len(shape) for shape in both}) > 1:
            continue
        extents = list(zip(*both, strict=True))
        dims[name] = tuple(e[0] if len(set(e)) == 1 else batch if e == BATCHES else None for e in extents)
        if not any(extent is None for shape in both for extent in shape):
            free = tuple(e[0] if len(set(e)) == 1 else None for e in extents)
            types[name] = TensorType(elements[name], free)
    return Inferred(elements, types, dims, runs)


def _name_batch(model: onnx.ModelProto, output: str) -> str | None:
    """The name of the free leading dimension of the first input that `output` needs; None without one."""
    used = {output}
    for node in reversed(model.graph.node):
        if used.intersection(node.output):
            used |= reads(node)
    weights = {w.name for w in model.graph.initializer}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in used or value.name in weights or not dims or dims[0].dim_value > 0:
            continue
        if not dims[0].dim_param:
            taken = {d.dim_param for v in _values(model) for d in v.type.tensor_type.shape.dim}
            dims[0].dim_param = fresh("N", taken)
        return dims[0].dim_param
    return None


def _values(model: onnx.ModelProto) -> Iterator[onnx.ValueInfoProto]:
    graph = model.graph
    return chain(graph.input, graph.output, graph.value_info)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its larger weights as inputs: inference would copy them for nothing."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph, inputs = model.graph, {value.name for value in model.graph.input}
    light.graph.CopyFrom(
        onnx.GraphProto(
            name="light",
            node=graph.node,
            input=graph.input,
            output=graph.output,
            value_info=graph.value_info,
            sparse_initializer=graph.sparse_initializer,
        )
    )
    for node in light.graph.node:
        if operator(node) in KEEP_SHAPE:
            node.CopyFrom(helper.make_node("Identity", node.input[:1], node.output))
    if any(node.op_type == "Resize" for node in light.graph.node):
        del light.graph.value_info[:]  # inference rounds some sizes otherwise than ONNX Runtime
        for value in light.graph.output:
            value.type.tensor_type.ClearField("shape")
    for value in light.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value <= 0:
                dim.ClearField("dim_value")  # how some exporters write a free dimension
    for weight in graph.initializer:
        if np.prod(weight.dims) <= SMALL and weight.data_location != onnx.TensorProto.EXTERNAL:
            light.graph.initializer.append(weight)
        elif weight.name not in inputs:
            light.graph.input.append(
                helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
            )
    return light


def _run(light: onnx.ModelProto, batch: str | None, size: int, elements: dict[str, int]) -> dict[str, Shape]:
    """Every shape at one batch size; also fills `elements`."""
    sized = onnx.ModelProto()
    sized.CopyFrom(light)
    for value in _values(sized):
        for dim in value.type.tensor_type.shape.dim:
            if batch and dim.dim_param == batch:
                dim.dim_value = size
    while True:
        try:
            inferred = shape_inference.infer_shapes(sized, strict_mode=True, data_prop=True).graph
        except Exception as error:
            at = f" at batch size {size}" if batch else ""
            raise ModelError(f"the model's shapes do not fit each other{at}: {gist(error)}") from error
        shapes = _shapes(inferred, elements)
        if _correct_resizes(sized, shapes):
            continue
        open_ended = [
            node
            for node in sized.graph.node
            if any(None in shapes.get(name, (None,)) for name in node.output)
        ]
        # Inference follows shape arithmetic through some operators only; computed, its results carry on.
        values = _computed(sized, shapes, {name for node in open_ended for name in node.input})
        if not values:
            return shapes
        sized.graph.initializer.extend(
            numpy_helper.from_array(array, OWN_PREFIX + name) for name, array in values.items()
        )
        for node in open_ended:
            node.input[:] = [OWN_PREFIX + name if name in values else name for name in node.input]


def _correct_resizes(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> bool:
    """Give a Resize the sizes that ONNX Runtime finds, by a product in float32, where inference errs."""
    tensors = _weights(model)
    for node in model.graph.node:
        if node.op_type == "Constant" and (value := attribute(node, "value")) is not None:
            tensors[node.output[0]] = value
    changed = False
    for node in model.graph.node:
        before, after = (shapes.get(names[0], (None,)) for names in (node.input or [""], node.output))
        if node.op_type != "Resize" or any(node.input[3:]) or None in (*before, *after):
            continue
        if node.input[2] not in tensors:
            continue
        axes = attribute(node, "axes", range(len(before)))
        extents = np.array([before[axis] for axis in axes], np.float32)
        sizes = (extents * numpy_helper.to_array(tensors[node.input[2]])).astype(np.int64)
        if [after[axis] for axis in axes] != sizes.tolist():
            name = f"{OWN_PREFIX}{node.output[0]}_sizes"
            model.graph.initializer.append(numpy_helper.from_array(sizes, name))
            node.input[2:] = ["", name]
            changed = True
    return changed


def _shapes(graph: onnx.GraphProto, elements: dict[str, int]) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {w.name: tuple(w.dims) for w in graph.initializer}
    elements |= {w.name: w.data_type for w in graph.initializer}
    for value in chain(graph.value_info, graph.output, graph.input):
        tensor = value.type.tensor_type
        if tensor.elem_type:
            elements[value.name] = tensor.elem_type
        if tensor.elem_type and tensor.HasField("shape"):
            shapes[value.name] = tuple(
                d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None
                for d in tensor.shape.dim
            )
    return shapes


# ---------------------------------------------------------------------------------------------- values


def constants(model: onnx.ModelProto, inferred: Inferred, wanted: Iterable[str]) -> dict[str, np.ndarray]:
    """The values of those `wanted` tensors that no input decides.

    They are weights (unless these lie outside the model) and what follows from weights and shapes, computed
    by ONNX Runtime at each batch size and kept where both agree.
    """
    wanted, weights = set(wanted), _weights(model)
    values_of = {name: numpy_helper.to_array(weights[name]) for name in wanted & weights.keys()}
    runs = [_computed(model, shapes, wanted) for shapes in inferred.runs]
    for name in runs[0]:
        values = [run[name] for run in runs if name in run]
        if len(values) == len(runs) and all(np.array_equal(values[0], value) for value in values):
            values_of[name] = values[0]
    return values_of


def _weights(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """The weights in the model that no caller can override."""
    inputs = {value.name for value in model.graph.input}
    return {
        w.name: w
        for w in model.graph.initializer
        if w.name not in inputs and w.data_location != onnx.TensorProto.EXTERNAL
    }


def _computed(model: onnx.ModelProto, shapes: Mapping[str, Shape], wanted: set[str]) -> dict[str, np.ndarray]:
    """The values of `wanted` that nodes compute from weights and from shapes."""
    weights = _weights(model)
    given, following, fixed = dict(weights), [], set(weights)
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type in RANDOM or subgraphs(node):
            continue
        if node.op_type in SHAPE_READERS:
            shape = shapes.get(node.input[0], (None,))
            if None in shape:
                continue
            given[node.output[0]] = numpy_helper.from_array(_shape_value(node, shape), node.output[0])
        elif reads(node) <= fixed:
            following.append(node)
        else:
            continue
        fixed.update(name for name in node.output if name)
    outputs = sorted(wanted & fixed - weights.keys())
    used = needed(following, outputs)
    names = {name for node in used for name in node.input} | set(outputs)
    if not outputs:
        return {}
    graph = helper.make_graph(
        used,
        "constants",
        [],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [tensor for name, tensor in given.items() if name in names],
    )
    opsets = [o for o in model.opset_import if o.domain in ("", "ai.onnx")]
    small = helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    session = open_session(small.SerializeToString(), quiet_options(Level.ORT_DISABLE_ALL))
    try:
        return dict(zip(outputs, session.run(outputs, {}), strict=True))
    except Exception as error:
        raise ModelError(f"the model's constants cannot be computed: {gist(error)}") from error


def _shape_value(node: onnx.NodeProto, shape: Shape) -> np.ndarray:
    """What a Shape or Size node gives for a fixed shape."""
    if node.op_type == "Size":
        return np.array(np.prod([int(extent or 0) for extent in shape]), np.int64)
    bounds = {a.name: a.i for a in node.attribute}
    return np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], np.int64)
