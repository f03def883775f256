"""Changes to what a model holds besides its nodes: weights, inputs and outputs, metadata, nested graphs.

Every function changes the model in place, as a random source says.
"""

from __future__ import annotations

import random

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.fuzz.junk import ABSURD, STRINGS
from benchmarks.fuzz.operators import hostile_operators

LOCATIONS = (
    "../outside.bin",
    "../../outside.bin",
    "/etc/hostname",
    "link.bin",
    "absent.bin",
    ".",
    "",
    "a\0b",
    "inside.bin",
    "C:\\outside.bin",
    "..\\outside.bin",
    "sub/../../outside.bin",
    "/dev/zero",
    "pipe.bin",
    "model.onnx",
    "x" * 5000,
)


def versions(model: onnx.ModelProto, rng: random.Random) -> None:
    """Make the operator set or the file format one that does not exist, is missing, or is there twice."""
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


def damage_weight(model: onnx.ModelProto, rng: random.Random) -> None:
    """Make a weight's data short, long, NaN, infinite, huge, of another type, sparse or missing."""
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


def external_data(model: onnx.ModelProto, rng: random.Random) -> None:
    """Point a weight out of the folder, to a device, a pipe or a link, or nowhere."""
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


def ends(model: onnx.ModelProto, rng: random.Random) -> None:
    """Double inputs or outputs, remove them, or make one another type."""
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


def properties(model: onnx.ModelProto, rng: random.Random) -> None:
    """Add metadata that no one would write."""
    junk = (*STRINGS, "[" * 100_000, "{0: 'a', 'x': {}}", "[1e999]", "(0, 0, 0)", "[-1, 1e9]", "9" * 10_000)
    for key in rng.sample(["names", "mean", "std", "imgsz", "scale", "input_size", "crop_pct", "color"], 2):
        model.metadata_props.add(key=key, value=rng.choice(junk))
    model.producer_name = rng.choice(STRINGS)


def functions(model: onnx.ModelProto, rng: random.Random) -> None:
    """Turn a node into a call of a local function, sound or one that calls itself."""
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


def nested(model: onnx.ModelProto, rng: random.Random) -> None:
    """Put subgraphs in subgraphs on the image's way, or a loop without end."""
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


def hostile_operator(model: onnx.ModelProto, rng: random.Random) -> None:
    """Put an operator that asks for what cannot be on the image's way, or add to the image what it makes."""
    graph = model.graph
    places = [(i, j) for i, n in enumerate(graph.node) for j in range(min(1, len(n.input)))]
    i, j = rng.choice(places)
    x, last = graph.node[i].input[j], ""
    new: list[onnx.NodeProto] = []
    for k, (op, inputs, attributes) in enumerate(hostile_operators(rng)):
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
