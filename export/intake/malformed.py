"""A model's structure and sizes, checked before anything heavy is done with it.

ONNX Runtime, onnx's shape inference and its version converter trust a model: some that contradict the
standard crash them, and some that obey it ask for more memory or time than there is, say for 2^40 zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod

import onnx
from onnx import AttributeProto, TensorProto, defs, numpy_helper

from sise_rt.errors import ModelError

from ..ir.messages import gist
from ..ir.nodes import fresh, operator, reads, subgraphs, tensor_names
from .sizes import ELEMENTS, KERNEL, SMALL, check_sizes, located

DEPTH = 4  # of subgraphs in subgraphs
NESTED = 1000  # nodes in all subgraphs together: the branches of an If are small
EXPANDED = 1_000_000  # nodes, once every function is put in where it is called
UNBOUNDED = frozenset({"axes", "axis", "dtype", "ends", "seed", "starts", "to", "value_int", "value_ints"})
POSITIVE = frozenset(
    "blocksize dilations group hidden_size kernel_shape num_groups num_outputs size strides".split()
)
KINDS = frozenset(AttributeProto.AttributeType.values())


def check_model(model: onnx.ModelProto) -> None:
    """Refuse a model that is no graph of the operators it names, or that asks for absurd sizes.

    What can be put right without a guess is, in place: nodes are sorted, as ONNX Runtime sorts them, extents
    declared as 0 or -1 become free, the unused parts of a Split get names (without one it crashes ONNX
    Runtime), and ONNX Runtime's own operators get their version.

    Args:
        model: external data need not be loaded.

    Raises:
        ModelError: says what is wrong with which node or tensor.
    """
    opsets = _opsets(model.opset_import)
    used = {node.domain for node in model.graph.node}
    if "com.microsoft" in used - opsets.keys():
        model.opset_import.add(domain="com.microsoft", version=1)
    _check_functions(model)
    nested = list(_inner(model.graph.node))
    if len(nested) > NESTED:
        raise ModelError(
            f"the model has {len(nested)} nodes in subgraphs, more than the {NESTED} that are read"
        )
    _check_graph(model.graph, opsets, frozenset())
    _name_parts(model.graph, [*model.graph.node, *nested])
    check_sizes(model, [*model.graph.node, *nested])


def check_no_loops(model: onnx.ModelProto) -> None:
    """Refuse loops, which ONNX Runtime would already run, for ever perhaps, as it folds constants.

    Raises:
        ModelError: names the node.
    """
    bodies = (model.graph.node, *(function.node for function in model.functions))
    for body in bodies:
        for node in (*body, *_inner(body)):
            if operator(node) in ("Loop", "Scan", "SequenceMap"):
                raise ModelError(f"{located(node)}: control flow cannot be split into blocks")


def _name_parts(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    taken: set[str] = set()
    for node in nodes:
        if operator(node) == "Split" and not all(node.output):
            taken = taken or set(tensor_names(graph))
            for i, name in enumerate(node.output):
                if not name:
                    node.output[i] = fresh(f"{next(filter(None, node.output), node.name)}_beside", taken)
                    taken.add(node.output[i])


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    versions: dict[str, int] = {}
    for entry in imports:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if versions.setdefault(domain, entry.version) != entry.version:
            raise ModelError(f"the model names two versions of operator set {domain or 'ai.onnx'!r}")
        if entry.version < 1:
            raise ModelError(
                f"the model names version {entry.version} of operator set {domain or 'ai.onnx'!r}"
            )
    return versions


def _check_functions(model: onnx.ModelProto) -> None:
    """Refuse functions that inlining would repeat for ever, as they call themselves, or nearly so."""
    bodies = {(f.domain, f.name): [*f.node, *_inner(f.node)] for f in model.functions}
    if len(bodies) < len(model.functions):
        raise ModelError("two functions of the model have one name: export the model again")
    for function in model.functions:
        _check_nodes(bodies[function.domain, function.name], _opsets(function.opset_import))
    counts: dict[tuple[str, str], int] = {}
    while len(counts) < len(bodies):
        before = len(counts)
        for name, body in bodies.items():
            calls = [(node.domain, node.op_type) for node in body]
            if name not in counts and all(call in counts or call not in bodies for call in calls):
                counts[name] = sum(counts.get(call, 1) for call in calls)
        if len(counts) == before:
            name = next(name for name in bodies if name not in counts)
            raise ModelError(f"function {name[1][:100]!r} of the model calls itself")
    if sum(counts.get((node.domain, node.op_type), 1) for node in model.graph.node) > EXPANDED:
        raise ModelError(f"the model has more than {EXPANDED} nodes in its functions")


def _nested(nodes: Iterable[onnx.NodeProto], depth: int) -> Iterator[onnx.GraphProto]:
    """Every subgraph, at any depth."""
    for node in nodes:
        for inner in subgraphs(node):
            if depth > DEPTH:
                raise ModelError(
                    f"node {node.name!r} ({node.op_type}): subgraphs are nested too deep to be read"
                )
            yield inner
            yield from _nested(inner.node, depth + 1)


def _inner(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes of every subgraph."""
    for graph in _nested(nodes, 1):
        yield from graph.node


# ---------------------------------------------------------------------------------------------- graphs


def _check_graph(graph: onnx.GraphProto, opsets: Mapping[str, int], outer: frozenset[str]) -> None:
    """Check a graph, then those inside its nodes; `outer` are the tensors around it."""
    weights = [w.name for w in graph.initializer] + [w.values.name for w in graph.sparse_initializer]
    inputs = [value.name for value in graph.input]
    computed = [name for node in graph.node for name in node.output if name]
    for names, kind in ((weights, "weights"), (inputs, "inputs"), (computed, "results of nodes")):
        if doubled := _doubled(names):
            raise ModelError(f"two {kind} of the model have one name, {doubled!r}: export the model again")
    given = {*weights, *inputs}
    if both := given.intersection(computed):
        raise ModelError(
            f"node output {min(both)!r} has the name of an input or a weight: export the model again"
        )
    if doubled := _doubled(node.name for node in graph.node if node.name):
        raise ModelError(f"two nodes of the model have one name, {doubled!r}: export the model again")
    for tensor in graph.initializer:
        _check_tensor(tensor, tensor.name)
    for sparse in graph.sparse_initializer:
        if min(sparse.dims, default=0) < 0 or prod(sparse.dims) > ELEMENTS:
            raise ModelError(f"sparse weight {sparse.values.name!r} has an absurd shape, {list(sparse.dims)}")
    _check_nodes(graph.node, opsets)
    readable = outer | given | set(computed)
    for node in graph.node:
        if missing := reads(node) - readable:
            raise ModelError(f"{located(node)} reads {min(missing)!r}, which nothing computes")
    if missing := {value.name for value in graph.output} - readable:
        raise ModelError(f"output {min(missing)!r} is computed by nothing")
    _sort(graph)
    for node in graph.node:
        for inner in subgraphs(node):
            _check_graph(inner, opsets, frozenset(readable))


def _doubled(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]


def _sort(graph: onnx.GraphProto) -> None:
    """Put every node behind those that it reads from, as ONNX demands; sorted ones stay where they are."""
    producer = {name: i for i, node in enumerate(graph.node) for name in node.output if name}
    waits = [{producer[name] for name in reads(node) if name in producer} for node in graph.node]
    if all(max(before, default=-1) < i for i, before in enumerate(waits)):
        return
    behind: dict[int, list[int]] = {}
    for i, before in enumerate(waits):
        for j in before:
            behind.setdefault(j, []).append(i)
    ready, order = [i for i, before in enumerate(waits) if not before], []
    while ready:
        order.append(ready.pop())
        for i in behind.get(order[-1], []):
            waits[i].discard(order[-1])
            if not waits[i]:
                ready.append(i)
    if len(order) < len(waits):
        stuck = next(node for node, before in zip(graph.node, waits, strict=True) if before)
        raise ModelError(f"{located(stuck)} waits for its own result: the model's graph has a cycle")
    nodes = [graph.node[i] for i in order]
    del graph.node[:]
    graph.node.extend(nodes)


# -------------------------------------------------------------------------------------------- nodes, tensors


def _check_nodes(nodes: Iterable[onnx.NodeProto], opsets: Mapping[str, int]) -> None:
    for node in nodes:
        for a in node.attribute:
            for tensor in (*([a.t] if a.HasField("t") else []), *a.tensors):
                _check_tensor(tensor, tensor.name or f"in {located(node)}")
        domain = "" if node.domain == "ai.onnx" else node.domain
        try:
            schema = defs.get_schema(node.op_type, opsets.get(domain, 0), domain)
        except Exception:
            continue  # none of ONNX's own: ONNX Runtime knows it, or says that it does not
        _check_attributes(node, schema)
        counts = (schema.min_input, schema.max_input), (schema.min_output, schema.max_output)
        for kind, names, (low, high) in zip(
            ("inputs", "outputs"), (node.input, node.output), counts, strict=True
        ):
            if not low <= len(names) <= high:
                raise ModelError(
                    f"{located(node)} has {len(names)} {kind}, where {low} to {high} are possible"
                )


def _check_attributes(node: onnx.NodeProto, schema: defs.OpSchema) -> None:
    if doubled := _doubled(a.name for a in node.attribute):
        raise ModelError(f"{located(node)} has two attributes {doubled!r}")
    present = {a.name for a in node.attribute}
    for name, wanted in schema.attributes.items():
        if wanted.required and name not in present:
            raise ModelError(f"{located(node)} lacks its attribute {name!r}")
    for a in node.attribute:
        declared = schema.attributes.get(a.name)
        wanted_type = str(declared.type).rpartition(".")[2] if declared else ""
        if declared and a.type != AttributeProto.AttributeType.Value(wanted_type) and not a.ref_attr_name:
            kind = AttributeProto.AttributeType.Name(a.type) if a.type in KINDS else a.type
            raise ModelError(
                f"{located(node)}: attribute {a.name!r} is {kind}, where {wanted_type} is needed"
            )
        if a.name not in UNBOUNDED and any(abs(value) > KERNEL for value in (a.i, *a.ints)):
            raise ModelError(f"{located(node)}: attribute {a.name!r} is absurdly large")
        if a.name in POSITIVE and min((*a.ints, *([a.i] if a.type == AttributeProto.INT else []), 1)) < 1:
            raise ModelError(f"{located(node)}: attribute {a.name!r} must be positive")
        if a.name == "perm" and sorted(a.ints) != list(range(len(a.ints))):
            raise ModelError(
                f"{located(node)}: attribute 'perm' is {list(a.ints)[:9]}, which is no permutation"
            )


def _check_tensor(tensor: TensorProto, name: str) -> None:
    """Refuse a small tensor without the data of its shape; large ones are checked as they are taken out."""
    shape = list(tensor.dims)
    if min(shape, default=0) < 0:
        raise ModelError(f"weight {name[:100]!r} is damaged: its shape is {shape[:9]}")
    if tensor.data_location == TensorProto.EXTERNAL or prod(shape) > SMALL:
        return
    try:
        numpy_helper.to_array(tensor)
    except Exception as error:
        raise ModelError(f"weight {name[:100]!r} is damaged: {gist(error)}") from error
