"""An If whose condition does not depend on the picture: the branch that is taken, in its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx

from sise_rt.errors import ModelError

from ..intake.interface import Interface
from ..ir.cpu_sessions import Level, open_session, quiet_options
from ..ir.messages import gist
from ..ir.network import SHAPE_READERS
from ..ir.nodes import attribute, fresh, reads, subgraphs, tensor_names
from .shapes import BATCHES

ROUNDS = 5  # an If in a branch of another comes to the top in the next round


def take_branches(model: onnx.ModelProto, ends: Interface, scratch: Path) -> None:
    """Replace every If that shapes and constants alone decide by the branch it takes, in place.

    Args:
        model: its input has a free batch and a fixed picture.
        ends: its input and output; the batch that it declared is the one that decides.
        scratch: the folder of its external weights.

    Raises:
        ModelError: the batch decides, or the picture; names the node.
    """
    for _ in range(ROUNDS):
        ifs = [node for node in model.graph.node if node.op_type == "If"]
        if not ifs:
            return
        varying = _varying(model.graph.node, ends.image)
        for node in ifs:
            if node.input[0] in varying:
                raise ModelError(
                    f"node {node.name or node.output[0]!r}: the picture decides which branch this If takes, "
                    "and such control flow cannot be split into blocks"
                )
        taken = _decisions(model, ends, scratch, [node.input[0] for node in ifs])
        nodes: list[onnx.NodeProto] = []
        for node in model.graph.node:
            nodes += _branch(model, node, taken[node.input[0]]) if node.op_type == "If" else [node]
        del model.graph.node[:]
        model.graph.node.extend(nodes)


def _varying(nodes: Sequence[onnx.NodeProto], image: str) -> set[str]:
    """The tensors whose values depend on the image's, what branches read included."""
    varying = {image}
    for node in nodes:
        if node.op_type not in SHAPE_READERS and varying & reads(node):
            varying.update(name for name in node.output if name)
    return varying


def _decisions(model: onnx.ModelProto, ends: Interface, scratch: Path, names: list[str]) -> dict[str, bool]:
    """The conditions' values, by running the model; a batch that the input leaves free must not matter."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    names = sorted(set(names))
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = quiet_options(Level.ORT_DISABLE_ALL)
    session = open_session(probe.SerializeToString(), options, scratch)
    declared = next(value for value in model.graph.input if value.name == ends.image).type.tensor_type
    shape = [dim.dim_value for dim in declared.shape.dim[1:]]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(declared.elem_type)
    runs: list[list[bool]] = []
    problem = ""
    for batch in [ends.dims[0]] if ends.dims[0] else [1, *BATCHES]:  # it may declare a batch that it lacks
        try:
            values = session.run(names, {ends.image: np.zeros((batch, *shape), dtype)})
        except Exception as error:
            problem = gist(error)
            continue
        runs.append([bool(np.asarray(value).reshape(-1)[0]) for value in values])
    if not runs:
        raise ModelError(f"the model does not run: {problem}")
    for name, values in zip(names, zip(*runs, strict=True), strict=True):
        if len(set(values)) > 1:
            raise ModelError(
                f"condition {name!r} of an If depends on the size of the batch: "
                "export the model with a batch of 1"
            )
    return dict(zip(names, runs[0], strict=True))


def _branch(model: onnx.ModelProto, node: onnx.NodeProto, taken: bool) -> list[onnx.NodeProto]:
    """The nodes of a branch, whose own tensors get names that are free."""
    graph = attribute(node, "then_branch" if taken else "else_branch")
    used = set(tensor_names(model.graph)) - set(tensor_names(graph))
    results = {value.name: name for value, name in zip(graph.output, node.output, strict=True) if name}
    made = {name for inner in graph.node for name in inner.output if name}
    renamed = {}
    for name in [*(weight.name for weight in graph.initializer), *sorted(made)]:
        renamed[name] = results.get(name) or fresh(name, used)
        used.add(renamed[name])
    for weight in graph.initializer:
        model.graph.initializer.add().CopyFrom(weight)
        model.graph.initializer[-1].name = renamed[weight.name]
    nodes = [_renamed(inner, renamed) for inner in graph.node]
    for value, name in zip(graph.output, node.output, strict=True):
        if name and renamed.get(value.name) != name:  # a tensor from outside, or one that is given out twice
            source = renamed.get(value.name, value.name)
            nodes.append(onnx.helper.make_node("Identity", [source], [name], f"{node.name or name}_taken"))
    return nodes


def _renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    copied.input[:] = [names.get(name, name) for name in copied.input]
    copied.output[:] = [names.get(name, name) for name in copied.output]
    for graph in subgraphs(copied):
        own = {value.name for value in graph.input}
        visible = {old: new for old, new in names.items() if old not in own}
        inner = [_renamed(inside, visible) for inside in graph.node]
        del graph.node[:]
        graph.node.extend(inner)
        for value in graph.output:
            value.name = visible.get(value.name, value.name)
    return copied
