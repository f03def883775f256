"""What one model can be written as in several ways, written in one: domains, sparse weights, operators.

Everything here keeps the model's numbers. Operators of ONNX Runtime's own, and one that ONNX removed, become
those of ONNX that they stand for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, inliner, numpy_helper

from sise_rt.errors import ModelError

from ..ir.messages import gist
from ..ir.nodes import attribute, fresh, operator, subgraphs, tensor_names
from .weight_files import mapped

MICROSOFT = "com.microsoft"
# What onnxruntime saves when it optimises for the machine it runs on: weights in blocks of channels.
MACHINE = "com.microsoft.nchwc"
WIDE_QUANTISATION = 21  # the first operator set of ONNX's own that quantises to 4 and 16 bits
INPUT_BOUNDS = 11  # from here on Clip has its bounds as inputs


def one_domain(model: onnx.ModelProto) -> None:
    """Write ONNX's own domain, which may be spelt `ai.onnx`, as the empty one, in place."""
    bodies = [(model.opset_import, model.graph.node)]
    bodies += [(function.opset_import, function.node) for function in model.functions]
    for imports, nodes in bodies:
        for named in (*imports, *_all_nodes(nodes)):
            if named.domain == "ai.onnx":
                named.domain = ""
        versions = {(entry.domain, entry.version) for entry in imports}
        if len(versions) < len(imports):  # the same version twice, under both spellings
            del imports[:]
            imports.extend(helper.make_opsetid(*entry) for entry in sorted(versions))


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterable[onnx.NodeProto]:
    for node in nodes:
        yield node
        for inner in subgraphs(node):
            yield from _all_nodes(inner.node)


def dense_weights(model: onnx.ModelProto, folder: Path) -> None:
    """Make dense weights of the graph's sparse ones, in place; `check_model` bounds their sizes.

    Args:
        model: what weights it has outside lie in `folder`.
        folder: of the model's file.

    Raises:
        ModelError: a sparse weight is damaged.
    """
    for sparse in model.graph.sparse_initializer:
        model.graph.initializer.append(_dense(sparse, sparse.values.name, folder))
    del model.graph.sparse_initializer[:]
    for node in model.graph.node:
        for a in node.attribute:
            if node.op_type == "Constant" and a.name == "sparse_value":
                value = _dense(a.sparse_tensor, node.output[0], folder)
                a.CopyFrom(helper.make_attribute("value", value))


def _dense(sparse: onnx.SparseTensorProto, name: str, folder: Path) -> TensorProto:
    shape, values = tuple(sparse.dims), mapped(sparse.values, folder)
    places = np.asarray(mapped(sparse.indices, folder))
    try:
        if places.ndim == 2:
            places = np.ravel_multi_index(tuple(places.T), shape)
        flat = np.zeros(int(np.prod(shape)), values.dtype)
        if places.size and (places.min() < 0 or len(np.unique(places)) < len(values)):
            raise ValueError("two of its values have one place, or a place is negative")
        flat[places] = values
    except (ValueError, IndexError, TypeError) as error:
        raise ModelError(f"sparse weight {name[:100]!r} is damaged: {gist(error)}") from error
    return numpy_helper.from_array(flat.reshape(shape), name)


def without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its functions put in where they are called.

    Raises:
        ModelError: they cannot be.
    """
    if not model.functions:
        return model
    try:
        return inliner.inline_local_functions(model, convert_version=True)
    except Exception as error:
        raise ModelError(f"the model's functions cannot be inlined: {gist(error)}") from error


# ---------------------------------------------------------------------------------------------- operators

# What takes a node's place; `name` makes a name that is free.
Rewrite = Callable[[onnx.NodeProto, int, Callable[[str], str]], list[onnx.NodeProto]]


def in_own_operators(model: onnx.ModelProto) -> None:
    """Rewrite the operators of `REWRITES` in place, in the model's own opset; tensors keep their names.

    Raises:
        ModelError: the model is one that onnxruntime has optimised for a machine.
    """
    opset = next((entry.version for entry in model.opset_import if entry.domain == ""), 0)
    taken = set(tensor_names(model.graph))

    def name(wanted: str) -> str:
        free = fresh(wanted, taken)
        taken.add(free)
        return free

    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if node.domain == MACHINE:
            raise ModelError(
                f"node {node.name or node.output[0]!r}: {operator(node)} is what onnxruntime saves when it "
                "optimises a model for one machine: export the model that it was made from"
            )
        rewrite = REWRITES.get(operator(node))
        nodes += rewrite(node, opset, name) if rewrite else [node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def needed_opset(model: onnx.ModelProto) -> int:
    """The lowest operator set that has what `in_own_operators` writes, 0 where any has."""
    wide = {TensorProto.INT16, TensorProto.UINT16, TensorProto.INT4, TensorProto.UINT4}
    kinds = {weight.name: weight.data_type for weight in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.domain == "":
            if any(kinds.get(name) in wide for name in (node.input[0], *node.input[2:3])):
                return WIDE_QUANTISATION
    return 0


def _image_scaler(node: onnx.NodeProto, opset: int, name: Callable[[str], str]) -> list[onnx.NodeProto]:
    """Pixels times `scale`, plus a bias for each channel; ONNX had it until its operator set 10."""
    bias = np.array(attribute(node, "bias", []), np.float32).reshape(-1, 1, 1)
    factor = np.array(attribute(node, "scale", 1.0), np.float32)
    nodes, operands = [], []
    for value, part in ((factor, "scale"), (bias, "bias")):
        operands.append(name(f"{node.output[0]}_{part}"))
        constant = numpy_helper.from_array(value, operands[-1])
        nodes.append(helper.make_node("Constant", [], operands[-1:], operands[-1], value=constant))
    scaled = name(f"{node.output[0]}_scaled")
    nodes.append(helper.make_node("Mul", [node.input[0], operands[0]], [scaled], scaled))
    nodes.append(helper.make_node("Add", [scaled, operands[1]], node.output, node.name or node.output[0]))
    return nodes


def _fused(node: onnx.NodeProto, opset: int, name: Callable[[str], str]) -> list[onnx.NodeProto]:
    """A convolution or Gemm with what onnxruntime fused behind it: a sum, and an activation."""
    kind = "Conv" if node.op_type == "FusedConv" else "Gemm"
    activation = attribute(node, "activation", b"").decode()
    parameters = attribute(node, "activation_params", [])
    if kind == "Gemm":
        given = {
            key: attribute(node, f"activation_{key}") for key in ("alpha", "beta", "gamma") if activation
        }
        parameters = [value for value in given.values() if value is not None]
    product = onnx.NodeProto()
    product.CopyFrom(node)
    product.op_type, product.domain = kind, ""
    kept = [a for a in node.attribute if not a.name.startswith("activation")]
    del product.attribute[:]
    product.attribute.extend(kept)
    nodes = [product]
    if kind == "Conv" and len(node.input) > 3 and node.input[3]:
        product.output[0] = name(f"{node.output[0]}_before_sum")
        nodes.append(helper.make_node("Add", [product.output[0], node.input[3]], node.output, node.output[0]))
    if kind == "Conv":
        del product.input[3:]
    if activation:
        nodes[-1].output[0] = name(f"{node.output[0]}_before_{activation.lower()}")
        nodes += _activation(node, activation, parameters, nodes[-1].output[0], opset, name)
    for i, part in enumerate(nodes[:-1]):
        part.name = part.output[0] if i or not node.name else f"{node.name}_{kind.lower()}"
    return nodes


def _activation(
    node: onnx.NodeProto,
    activation: str,
    parameters: list[float],
    source: str,
    opset: int,
    name: Callable[[str], str],
) -> list[onnx.NodeProto]:
    label = node.name or node.output[0]
    if activation == "Clip" and opset >= INPUT_BOUNDS:
        bounds = [name(f"{node.output[0]}_{end}") for end in ("low", "high")]
        constants = [
            helper.make_node(
                "Constant", [], [bound], bound, value=numpy_helper.from_array(np.array(v, np.float32), bound)
            )
            for bound, v in zip(bounds, parameters, strict=True)
        ]
        return [*constants, helper.make_node("Clip", [source, *bounds], node.output, label)]
    keys = {"Clip": ("min", "max"), "LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta")}
    given = dict(zip(keys.get(activation, ()), parameters, strict=False))
    if activation not in (*keys, "Relu", "Sigmoid", "Tanh", "Elu", "Softsign", "Softplus", "HardSwish"):
        raise ModelError(
            f"node {label!r}: {operator(node)} with activation {activation!r:.50} is what onnxruntime saves "
            "when it optimises a model: export the model that it was made from"
        )
    made = helper.make_node(activation, [source], node.output, label)
    made.attribute.extend(helper.make_attribute(key, value) for key, value in given.items())
    return [made]


def _quantisation(node: onnx.NodeProto, opset: int, name: Callable[[str], str]) -> list[onnx.NodeProto]:
    """ONNX Runtime quantised to 16 bits before ONNX did; the operators are the same since set 21."""
    own = onnx.NodeProto()
    own.CopyFrom(node)
    own.domain = ""
    return [own]


REWRITES: dict[str, Rewrite] = {
    "ImageScaler": _image_scaler,
    f"{MICROSOFT}.FusedConv": _fused,
    f"{MICROSOFT}.FusedGemm": _fused,
    f"{MICROSOFT}.QuantizeLinear": _quantisation,
    f"{MICROSOFT}.DequantizeLinear": _quantisation,
}
