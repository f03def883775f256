"""Graphs whose outputs are of another shape or type than the manifest says: mostly seen in a run."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, TensorProto, helper, numpy_helper

BEFORE = "before_the_change"


def change_output(sound: Path, folder: Path, rng: random.Random) -> Path:
    """Make a copy of a bundle one of whose outputs is not what it says, and write the hashes that fit."""
    from sise_rt.bundle import MANIFEST, sha256

    shutil.copytree(sound, folder)
    path = rng.choice(sorted(folder.rglob("*.onnx")))
    model = onnx.load(path, load_external_data=False)
    output = rng.choice(model.graph.output)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [BEFORE if name == output.name else name for name in names]
    rng.choice(CHANGES)(model.graph, output, rng)
    if rng.random() < 0.5:  # what is declared is no longer known, or as before
        output.type.tensor_type.ClearField("shape")
    path.write_bytes(model.SerializeToString())
    data = json.loads((folder / MANIFEST).read_text("utf-8"))
    data["files"][str(path.relative_to(folder).as_posix())] = sha256(path)
    (folder / MANIFEST).write_text(json.dumps(data), "utf-8")
    return folder


def _constant(graph: GraphProto, name: str, *values: int) -> str:
    graph.initializer.append(numpy_helper.from_array(np.array(values), name))
    return name


def _axes(output: onnx.ValueInfoProto) -> int:
    return len(output.type.tensor_type.shape.dim)


def fewer(graph: GraphProto, output: onnx.ValueInfoProto, rng: random.Random) -> None:
    """All but the last along an axis; how many that are, no file tells."""
    axis = _constant(graph, "axis", rng.randrange(_axes(output)))
    ends = [_constant(graph, "zero", 0), _constant(graph, "last", -1)]
    graph.node.append(helper.make_node("Slice", [BEFORE, *ends, axis], [output.name]))


def more(graph: GraphProto, output: onnx.ValueInfoProto, rng: random.Random) -> None:
    """Everything twice along an axis."""
    axis = rng.randrange(_axes(output))
    graph.node.append(helper.make_node("Concat", [BEFORE, BEFORE], [output.name], axis=axis))


def deeper(graph: GraphProto, output: onnx.ValueInfoProto, rng: random.Random) -> None:
    """One axis more, by a shape that is only computed."""
    graph.node.extend(
        [
            helper.make_node("Shape", [BEFORE], ["its_shape"]),
            helper.make_node("Concat", [_constant(graph, "one", 1), "its_shape"], ["deeper"], axis=0),
            helper.make_node("Reshape", [BEFORE, "deeper"], [output.name]),
        ]
    )


def flatter(graph: GraphProto, output: onnx.ValueInfoProto, rng: random.Random) -> None:
    """A single number, or nothing."""
    which = _constant(graph, "which", *rng.choice(([0], [])))
    flat = helper.make_node("Reshape", [BEFORE, _constant(graph, "all", -1)], ["flat"])
    graph.node.extend([flat, helper.make_node("Gather", ["flat", which], [output.name])])


def turned(graph: GraphProto, output: onnx.ValueInfoProto, rng: random.Random) -> None:
    """Axes the other way round; where there is one alone, or all are alike, one more element."""
    if _axes(output) < 2:
        return more(graph, output, rng)
    graph.node.extend(
        [
            helper.make_node("Transpose", [BEFORE], ["turned"]),
            helper.make_node("Concat", ["turned", "turned"], [output.name], axis=0),
        ]
    )


def another_type(graph: GraphProto, output: onnx.ValueInfoProto, rng: random.Random) -> None:
    """Another element type, declared as it is or not."""
    kind = rng.choice((TensorProto.DOUBLE, TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT16))
    graph.node.append(helper.make_node("Cast", [BEFORE], [output.name], to=kind))
    if rng.random() < 0.7:
        output.type.tensor_type.elem_type = kind


def no_tensor(graph: GraphProto, output: onnx.ValueInfoProto, rng: random.Random) -> None:
    """A sequence of tensors, declared as one or not."""
    graph.node.append(helper.make_node("SequenceConstruct", [BEFORE], [output.name]))
    if rng.random() < 0.7:
        kind = onnx.TypeProto()
        kind.sequence_type.elem_type.tensor_type.elem_type = TensorProto.FLOAT
        output.type.CopyFrom(kind)


Change = Callable[[GraphProto, onnx.ValueInfoProto, random.Random], None]
CHANGES: tuple[Change, ...] = (fewer, more, deeper, flatter, turned, another_type, no_tensor)
