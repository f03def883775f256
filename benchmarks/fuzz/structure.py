"""Changes to a model's nodes and to what they say of their tensors: shapes, attributes, names, operators.

Every function changes the model in place, as a random source says.
"""

from __future__ import annotations

import random

import onnx
from onnx import AttributeProto, TensorProto, helper

from benchmarks.fuzz.junk import ABSURD, STRINGS

OPERATORS = """
Cast CastLike Col2Im Compress Concat Conv ConvInteger ConvTranspose DFT DepthToSpace DequantizeLinear Div
Einsum Flatten GRU GatherND Gemm GlobalMaxPool GridSample GroupNormalization Identity If
InstanceNormalization LRN LSTM Loop LpPool MatMul MaxRoiPool MaxUnpool Mod NonZero Pow QLinearConv Relu
Reshape Resize RoiAlign STFT Scan ScatterND SpaceToDepth Split TopK Unique Upsample Where
"""


def _name(model: onnx.ModelProto, rng: random.Random) -> str:
    names = {name for node in model.graph.node for name in (*node.input, *node.output)}
    return rng.choice(sorted(names)) if names and rng.random() < 0.8 else rng.choice(STRINGS)


def absurd_dims(model: onnx.ModelProto, rng: random.Random) -> None:
    """Give an input, an output or a weight extents that cannot be."""
    graph = model.graph
    if rng.random() < 0.5 and graph.initializer:
        tensor = rng.choice(graph.initializer)
        for _ in range(rng.randint(1, 2)):
            if tensor.dims and rng.random() < 0.8:
                tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(ABSURD)
            else:
                tensor.dims.extend([rng.choice(ABSURD)] * rng.choice((1, 3, 50)))
        return
    values = [*graph.input, *graph.output]
    shape = rng.choice(values).type.tensor_type.shape if values else None
    if shape and shape.dim:
        dim = rng.choice(shape.dim)
        if rng.random() < 0.2:
            dim.dim_param = rng.choice(STRINGS)
        else:
            dim.dim_value = rng.choice((*ABSURD, 1000))


def stale_shapes(model: onnx.ModelProto, rng: random.Random) -> None:
    """Declare shapes and types of inner tensors that are not theirs."""
    for _ in range(rng.randint(1, 3)):
        dims = [rng.choice(ABSURD) for _ in range(rng.choice((0, 1, 4, 4, 9)))]
        kind = rng.choice((1, 7, 8, 10, 16, 99))
        model.graph.value_info.append(helper.make_tensor_value_info(_name(model, rng), kind, dims))


def change_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    """Give an attribute an absurd value, another length or type; double it, rename it or remove it."""
    nodes = [node for node in model.graph.node if node.attribute]
    if not nodes:
        return
    node = rng.choice(nodes)
    i = rng.randrange(len(node.attribute))
    a = node.attribute[i]
    kind = rng.random()
    if kind < 0.15:
        del node.attribute[i]
    elif kind < 0.3:
        junk = rng.choice((1, -1, 1.5, "text", [1, 2], [0.5], ["a"], TensorProto(), onnx.GraphProto()))
        a.CopyFrom(helper.make_attribute(a.name, junk))
    elif kind < 0.4:
        a.type = rng.choice(AttributeProto.AttributeType.values())
    elif kind < 0.5:
        a.name = rng.choice((*STRINGS, "axis", "to", "group", "pads"))
    elif kind < 0.55:
        node.attribute.append(a)
    elif a.type == AttributeProto.INTS:
        if rng.random() < 0.3:
            a.ints.extend([rng.choice(ABSURD)] * rng.choice((1, 60)))
        elif rng.random() < 0.3 and a.ints:
            del a.ints[rng.randrange(len(a.ints)) :]
        elif a.ints:
            for _ in range(rng.choice((1, len(a.ints)))):
                a.ints[rng.randrange(len(a.ints))] = rng.choice((*ABSURD, 100, 3000))
    elif a.type == AttributeProto.INT:
        a.i = rng.choice((*ABSURD, 10, 11, 16, 99))
    elif a.type == AttributeProto.FLOAT:
        a.f = rng.choice((0.0, -1.0, 1e38, float("inf"), float("nan")))
    elif a.type == AttributeProto.STRING:
        a.s = rng.choice((b"", b"\xff\xfe", b"SAME_UPPER", b"VALID", b"wrap", b"linear", b"x" * 10_000))


def add_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    """Give a node an attribute that changes what its operator does."""
    name = rng.choice(
        "auto_pad axis axes ceil_mode dilations strides pads group storage_order to perm".split()
    )
    value = rng.choice(
        (rng.choice(ABSURD), [rng.choice(ABSURD)] * rng.choice((1, 2, 4)), "SAME_LOWER", "NOTSET")
    )
    rng.choice(model.graph.node).attribute.append(helper.make_attribute(name, value))


def rearrange_nodes(model: onnx.ModelProto, rng: random.Random) -> None:
    """Remove a node, double it, or put the nodes in another order."""
    nodes = list(model.graph.node)
    kind, i = rng.randrange(4), rng.randrange(len(nodes))
    if kind == 0:
        del nodes[i]
    elif kind == 1:
        nodes.insert(rng.randrange(len(nodes)), nodes[i])
    elif kind == 2:
        rng.shuffle(nodes)
    else:
        nodes.reverse()
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def rewire(model: onnx.ModelProto, rng: random.Random) -> None:
    """Give a node inputs or outputs that make a cycle, are doubled, lost, too many, or no tensor's."""
    node = rng.choice(model.graph.node)
    kind = rng.randrange(6)
    names = node.input if rng.random() < 0.7 else node.output
    if kind == 0 and names:
        names[rng.randrange(len(names))] = _name(model, rng)
    elif kind == 1 and names:
        del names[rng.randrange(len(names)) :]
    elif kind == 2:
        names.extend([_name(model, rng)] * rng.choice((1, 2, 300)))
    elif kind == 3:
        node.input[:] = [node.output[0]] * max(1, len(node.input))
    elif kind == 4 and names:
        names[0] = ""
    else:
        node.input[:] = [model.graph.node[-1].output[0] if model.graph.node[-1].output else "x"]


def rename(model: onnx.ModelProto, rng: random.Random) -> None:
    """Rename nodes or tensors, throughout or in one place."""
    graph, new = model.graph, rng.choice(STRINGS)
    kind = rng.randrange(4)
    if kind == 0:
        for node in graph.node:
            node.name = new
    elif kind == 1:
        old = _name(model, rng)
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]
        for value in (*graph.input, *graph.output, *graph.initializer):
            value.name = new if value.name == old else value.name
    else:
        named = [*graph.input, *graph.output, *graph.initializer]
        rng.choice(named).name = new if kind == 2 else rng.choice(named).name


def another_operator(model: onnx.ModelProto, rng: random.Random) -> None:
    """Give a node another operator, or its operator another domain."""
    node = rng.choice(model.graph.node)
    if rng.random() < 0.8:
        node.op_type = rng.choice((*OPERATORS.split(), "", "NoSuchOperator", "x" * 1000))
    else:
        node.domain = rng.choice(
            ("com.microsoft", "ai.onnx.ml", "ai.onnx", "org.example", "com.microsoft.nchwc")
        )
        if rng.random() < 0.7:
            model.opset_import.add(domain=node.domain, version=rng.choice((0, 1, 3, 999)))
