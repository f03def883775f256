"""Ways to make a model invalid, hostile or absurd, drawn from one random source."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from classifiers import MODELS
from hostile import hostile
from onnx import AttributeProto, TensorProto, helper, numpy_helper

ABSURD = (0, -1, 1, 2, 7, 1 << 26, 1 << 31, 1 << 40, 1 << 62, -(1 << 63))
STRINGS = (
    "",
    "input",
    "images",
    "logits",
    "a\0b",
    "../x",
    "名前 ü ☃",
    "x" * 100_000,
    "\x1b[2J\n",
    "sise_rt/x",
)
LOCATIONS = (
    "../outside.bin",
    "../../outside.bin",
    "/etc/hostname",
    "link.bin",
    "absent.bin",
    ".",
    "",
    "a\0b",
)
LOCATIONS += ("inside.bin", "C:\\outside.bin", "..\\outside.bin", "sub/../../outside.bin", "/dev/zero")
LOCATIONS += ("pipe.bin", "model.onnx", "x" * 5000)
TYPES = """
Cast CastLike Col2Im Compress Concat Conv ConvInteger ConvTranspose DFT DepthToSpace DequantizeLinear Div
Einsum Flatten GRU GatherND Gemm GlobalMaxPool GridSample GroupNormalization Identity If
InstanceNormalization LRN LSTM Loop LpPool MatMul MaxRoiPool MaxUnpool Mod NonZero Pow QLinearConv Relu
Reshape Resize RoiAlign STFT Scan ScatterND SpaceToDepth Split TopK Unique Upsample Where
"""

Mutation = Callable[[onnx.ModelProto, random.Random], None]


# ---------------------------------------------------------------------------------------------- bytes


def damage_bytes(data: bytes, rng: random.Random) -> bytes:
    """The file with bytes flipped, lost, put in or cut off."""
    changed = bytearray(data)
    if rng.random() < 0.2:
        return bytes(changed[: rng.randrange(len(changed))])
    for _ in range(rng.choice((1, 1, 2, 5, 50))):
        # Most of a file is weights; structure is at its ends, and where text is.
        texts = [i for i in range(0, len(changed), 7) if 48 < changed[i] < 123]
        where = rng.choice((rng.randrange(len(changed)), rng.choice(texts), -rng.randrange(1, 200)))
        kind = rng.random()
        if kind < 0.5:
            changed[where] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind < 0.7:
            del changed[where]
        elif kind < 0.9:
            changed[where:where] = rng.choice((b"\xff" * 9, b"\0", bytes([rng.randrange(256)])))
        else:
            changed[where:where] = changed[where : where + rng.randrange(1, 400)]
    return bytes(changed)


# ---------------------------------------------------------------------------------------------- structure

MUTATIONS: list[Mutation] = []


def mutation(function: Mutation) -> Mutation:
    """Register a way to change a model in place."""
    MUTATIONS.append(function)
    return function


def _name(model: onnx.ModelProto, rng: random.Random) -> str:
    names = {name for node in model.graph.node for name in (*node.input, *node.output)}
    return rng.choice(sorted(names)) if names and rng.random() < 0.8 else rng.choice(STRINGS)


@mutation
def absurd_dims(model: onnx.ModelProto, rng: random.Random) -> None:
    """Of an input, an output or a weight."""
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


@mutation
def stale_shapes(model: onnx.ModelProto, rng: random.Random) -> None:
    """Declared shapes and types of inner tensors that are not theirs."""
    for _ in range(rng.randint(1, 3)):
        dims = [rng.choice(ABSURD) for _ in range(rng.choice((0, 1, 4, 4, 9)))]
        kind = rng.choice((1, 7, 8, 10, 16, 99))
        model.graph.value_info.append(helper.make_tensor_value_info(_name(model, rng), kind, dims))


@mutation
def change_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    """To an absurd value, of another length, or another type; or without it."""
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


@mutation
def add_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    """One that changes what an operator does."""
    name = rng.choice(
        "auto_pad axis axes ceil_mode dilations strides pads group storage_order to perm".split()
    )
    value = rng.choice(
        (rng.choice(ABSURD), [rng.choice(ABSURD)] * rng.choice((1, 2, 4)), "SAME_LOWER", "NOTSET")
    )
    rng.choice(model.graph.node).attribute.append(helper.make_attribute(name, value))


@mutation
def rearrange_nodes(model: onnx.ModelProto, rng: random.Random) -> None:
    """Remove, double, reorder."""
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


@mutation
def rewire(model: onnx.ModelProto, rng: random.Random) -> None:
    """Cycles, doubled outputs, inputs that are lost, too many, or nothing's."""
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


@mutation
def rename(model: onnx.ModelProto, rng: random.Random) -> None:
    """Names of nodes, tensors, inputs and outputs, throughout or in one place."""
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


@mutation
def another_operator(model: onnx.ModelProto, rng: random.Random) -> None:
    """Another type or domain."""
    node = rng.choice(model.graph.node)
    if rng.random() < 0.8:
        node.op_type = rng.choice((*TYPES.split(), "", "NoSuchOperator", "x" * 1000))
    else:
        node.domain = rng.choice(
            ("com.microsoft", "ai.onnx.ml", "ai.onnx", "org.example", "com.microsoft.nchwc")
        )
        if rng.random() < 0.7:
            model.opset_import.add(domain=node.domain, version=rng.choice((0, 1, 3, 999)))


@mutation
def versions(model: onnx.ModelProto, rng: random.Random) -> None:
    """Opset and file format that do not exist, are missing, or are doubled."""
    kind = rng.randrange(4)
    if kind == 0:
        model.ir_version = rng.choice((0, -1, 1, 2, 3, 99, 1 << 40))
    elif kind == 1:
        del model.opset_import[:]
    elif kind == 2:
        model.opset_import.add(
            domain=rng.choice(("", "ai.onnx", "x")), version=rng.choice((1, 7, 13, 21, 999))
        )
    elif model.opset_import:
        model.opset_import[0].version = rng.choice(
            (0, -1, 1, 5, 6, 7, 8, 10, 11, 12, 13, 17, 21, 23, 24, 99, 999)
        )


@mutation
def damage_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    """Data that is short, long, NaN, infinite, huge, of another type, sparse or missing."""
    if not model.graph.initializer:
        return
    tensor = rng.choice(model.graph.initializer)
    kind = rng.randrange(8)
    if kind == 0:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif kind == 1:
        tensor.raw_data += bytes(rng.choice((1, 4, 4000)))
    elif kind == 2:
        tensor.data_type = rng.choice((*TensorProto.DataType.values(), 77, -1))
    elif kind == 3:
        tensor.float_data.extend([1.0] * 3)
    elif kind == 4:
        del model.graph.initializer[[w.name for w in model.graph.initializer].index(tensor.name)]
    elif kind == 5:
        model.graph.initializer.append(tensor)
    elif kind == 6:
        sparse = model.graph.sparse_initializer.add()
        sparse.values.CopyFrom(tensor)
        sparse.indices.CopyFrom(numpy_helper.from_array(np.array([rng.choice(ABSURD)] * 3), "indices"))
        sparse.dims.extend([rng.choice(ABSURD), rng.choice(ABSURD)])
    elif tensor.data_location != TensorProto.EXTERNAL:
        value = (
            numpy_helper.to_array(tensor).copy() if tensor.data_type in (1, 7, 10) else np.ones(3, np.float32)
        )
        junk = (np.nan, np.inf, -np.inf, 3e38, 0.0) if value.dtype.kind == "f" else ABSURD
        if rng.random() < 0.5:
            value[...] = np.array(rng.choice(junk)).astype(value.dtype)
        elif value.size:
            value.flat[rng.randrange(value.size)] = np.array(rng.choice(junk)).astype(value.dtype)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


@mutation
def external_data(model: onnx.ModelProto, rng: random.Random) -> None:
    """Weights that point out of the folder, to devices, pipes and links, or nowhere."""
    tensors = [*model.graph.initializer]
    tensors += [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    if not tensors:
        return
    tensor = rng.choice(tensors)
    if rng.random() < 0.7:
        tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=rng.choice(LOCATIONS))
    for key in ("offset", "length"):
        if rng.random() < 0.4:
            junk = ("-1", "0", "4", "1e3", "x", "", str(1 << 62), "9" * 5000)
            tensor.external_data.add(key=key, value=rng.choice(junk))


@mutation
def ends(model: onnx.ModelProto, rng: random.Random) -> None:
    """Inputs and outputs: doubled, missing, of another kind."""
    graph = model.graph
    kind = rng.randrange(6)
    if kind == 0:
        del graph.output[:]
    elif kind == 1:
        del graph.input[:]
    elif kind == 2:
        graph.output.append(graph.output[0])
    elif kind == 3:
        graph.input.append(graph.input[0])
    elif kind == 4:
        end = rng.choice((graph.input, graph.output))[0]
        end.type.tensor_type.elem_type = rng.choice((0, 2, 7, 8, 10, 16, 99))
    else:
        end = rng.choice((graph.input, graph.output))[0]
        end.type.sequence_type.elem_type.tensor_type.elem_type = 1


@mutation
def properties(model: onnx.ModelProto, rng: random.Random) -> None:
    """Metadata that no one would write."""
    junk = (*STRINGS, "[" * 100_000, "{0: 'a', 'x': {}}", "[1e999]", "(0, 0, 0)", "[-1, 1e9]", "9" * 10_000)
    for key in rng.sample(["names", "mean", "std", "imgsz", "scale", "input_size", "crop_pct", "color"], 2):
        model.metadata_props.add(key=key, value=rng.choice(junk))
    model.producer_name = rng.choice(STRINGS)


@mutation
def functions(model: onnx.ModelProto, rng: random.Random) -> None:
    """A node becomes a local function, sound or one that calls itself."""
    node = rng.choice(model.graph.node)
    body = onnx.NodeProto()
    body.CopyFrom(node)
    recursive = rng.random() < 0.5
    if recursive:
        body.op_type, body.domain = "Own", "own"
    opsets = [*model.opset_import, helper.make_opsetid("own", 1)]
    model.functions.append(
        helper.make_function("own", "Own", list(dict.fromkeys(node.input)), list(node.output), [body], opsets)
    )
    node.op_type, node.domain = "Own", "own"
    if rng.random() < 0.8:
        del node.attribute[:]
    model.opset_import.add(domain="own", version=1)


@mutation
def nested(model: onnx.ModelProto, rng: random.Random) -> None:
    """Subgraphs in subgraphs, or a loop without end."""
    graph, node = model.graph, model.graph.node[0]
    if rng.random() < 0.4:
        depth = rng.choice((1, 5, 20, 30))
        branch = helper.make_graph(
            [helper.make_node("Identity", ["input"], ["deep"])], "g", [], [_value("deep")]
        )
        for i in range(depth):
            inner = helper.make_node("If", ["condition"], [f"d{i}"], then_branch=branch, else_branch=branch)
            branch = helper.make_graph([inner], "g", [], [_value(f"d{i}")])
            if branch.ByteSize() > 1 << 20:
                break
        graph.node.insert(0, branch.node[0])
        output = branch.output[0].name
    else:
        graph.initializer.append(numpy_helper.from_array(np.array(rng.choice((1, 1 << 40))), "trips"))
        steps = [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Neg", ["v"], ["v_out"])]
        boolean = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
        on = helper.make_tensor_value_info("go_on", TensorProto.BOOL, [])
        trip = helper.make_tensor_value_info("trip", TensorProto.INT64, [])
        body = helper.make_graph(steps, "body", [trip, boolean, _value("v")], [on, _value("v_out")])
        start = "start" if rng.random() < 0.5 else "input"
        graph.initializer.append(numpy_helper.from_array(np.ones((1, 3, 1, 1), np.float32), "start"))
        loop = helper.make_node("Loop", ["trips", "condition", start], ["looped"], body=body)
        graph.node.insert(0, helper.make_node("Add", ["looped", "input"], ["deeper"]))
        graph.node.insert(0, loop)
        output = "deeper"
    graph.initializer.append(numpy_helper.from_array(np.array(True), "condition"))
    node = next((n for n in graph.node[1:] if "input" in n.input and n.output[0] != output), node)
    node.input[:] = [output if name == "input" else name for name in node.input]


def _value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


@mutation
def hostile_operator(model: onnx.ModelProto, rng: random.Random) -> None:
    """An operator on the way of the image, or of a constant added to it, that asks for what cannot be."""
    graph = model.graph
    places = [(i, j) for i, n in enumerate(graph.node) for j in range(min(1, len(n.input)))]
    i, j = rng.choice(places)
    x, last = graph.node[i].input[j], ""
    new: list[onnx.NodeProto] = []
    for k, (op, inputs, attributes) in enumerate(hostile(rng)):
        names = []
        for value in inputs:
            if isinstance(value, str):
                names.append({"x": x, "_": "", ">": last}[value])
            else:
                names.append(f"hostile{k}_{len(names)}_{i}_{len(graph.initializer)}")
                graph.initializer.append(numpy_helper.from_array(np.asarray(value), names[-1]))
        last = f"hostile{k}_{i}_{len(graph.node)}"
        new.append(helper.make_node(op, names, [last], last, **attributes))
    if rng.random() < 0.1:
        new[-1].domain = "com.microsoft"
    graph.node[i].input[j] = last
    nodes = list(graph.node)
    nodes[i:i] = new
    del graph.node[:]
    graph.node.extend(nodes)


def mutate(model: onnx.ModelProto, rng: random.Random) -> bytes:
    """The serialised model after one or a few changes."""
    if rng.random() < 0.15:
        return damage_bytes(model.SerializeToString(), rng)
    weights = [4 if function is hostile_operator else 1 for function in MUTATIONS]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        try:
            rng.choices(MUTATIONS, weights)[0](model, rng)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue  # the change before has left nothing to change, or protobuf itself refuses the value
    return model.SerializeToString()


def write_case(folder: Path, case: int, seed: int) -> Path:
    """Write a mutated model, and the files its external data may point at, inside and outside its folder."""
    rng = random.Random(f"{seed}/{case}")
    inner = folder / "in"
    inner.mkdir(parents=True)
    (folder / "outside.bin").write_bytes(bytes(1 << 14))
    (inner / "inside.bin").write_bytes(bytes(1 << 14))
    (inner / "link.bin").symlink_to("../outside.bin")
    os.mkfifo(inner / "pipe.bin")
    path = inner / "model.onnx"
    path.write_bytes(mutate(rng.choice(MODELS)(), rng))
    return path
