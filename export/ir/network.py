"""A canonical network in memory: nodes in order, weights, and the type of every tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from sise_rt.wording import Note

from .builder import Builder
from .nodes import homes, reads
from .types import TensorType

PRODUCER = "sise-rt"
OWN_PREFIX = "sise_rt/"  # starts the names of every tensor and graph that this package adds
STRAIGHT_THROUGH = OWN_PREFIX + "straight_through/"  # starts names of nodes whose rounding gradients pass
BATCH = OWN_PREFIX + "batch"  # the batch size, int64 (1,), of whatever tensor a graph starts from

SHAPE_READERS = frozenset({"Shape", "Size"})


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order that turn `inputs` into `outputs`; weights live in the network.

    Attributes:
        name: of the graph.
        nodes: in topological order.
        inputs: tensor names.
        outputs: likewise.
        declared: the types of inputs and outputs that the graph says itself; the others are the network's.
    """

    name: str
    nodes: tuple[onnx.NodeProto, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    declared: Mapping[str, TensorType] = field(default_factory=dict)

    @classmethod
    def of(
        cls, name: str, nodes: Sequence[onnx.NodeProto], inputs: tuple[str, ...], outputs: tuple[str, ...]
    ) -> Graph:
        """The part of `nodes` that leads from `inputs` to `outputs`."""
        return cls(name, tuple(needed(nodes, outputs, inputs)), inputs, outputs)

    def by(self, nodes: Sequence[onnx.NodeProto]) -> Graph:
        """The same inputs and outputs, by other nodes."""
        return replace(self, nodes=tuple(needed(nodes, self.outputs, self.inputs)))


@dataclass
class Network:
    """A classifier in canonical form: `images` (N, C, H, W) to `logits` (N, classes).

    Attributes:
        graph: the whole network.
        weights: every initializer by name; graphs cut from the network share it.
        types: every tensor's type, weights included.
        opsets: operator set versions by domain.
        activation: `softmax` or `sigmoid`, what turns logits into confidences; `none` where the output itself
            is explained.
        removed: the operator (Softmax, LogSoftmax, Sigmoid) whose result the source gives, None for logits.
        layout: `NCHW` or `NHWC`, the source's input layout.
        two_sided: whether the source gives a single logit z, and the network both sides, (-z, z).
        rearranged: for each block output that was brought to channels first, the tensor with channels last.
        measured: the two runs' values of tensors that depend on the image through shapes alone.
        assumed: what neither the model nor the user said.
        notes: what was decided on the way and is worth saying.
        warnings: what makes an explanation mean something else than one would think.
    """

    graph: Graph
    weights: dict[str, np.ndarray]
    types: dict[str, TensorType]
    opsets: dict[str, int]
    activation: str
    removed: str | None = None
    layout: str = "NCHW"
    two_sided: bool = False
    rearranged: dict[str, str] = field(default_factory=dict)
    measured: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    assumed: list[Note] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def adopt(self, builder: Builder) -> None:
        """Take over the constants that a builder made."""
        self.weights |= builder.constants

    @property
    def classes(self) -> int:
        """How many logits there are."""
        return int(self.types["logits"].shape[1] or 0)

    @property
    def batch(self) -> int | None:
        """1 where the network takes one image at a time, None where it takes any number."""
        return None if self.types["images"].shape[0] is None else 1

    @property
    def image_size(self) -> tuple[int, int, int]:
        """(channels, height, width) of the input."""
        _, c, h, w = self.types["images"].shape
        return int(c or 0), int(h or 0), int(w or 0)


def image_dependent(nodes: Iterable[onnx.NodeProto], sources: Iterable[str]) -> set[str]:
    """Every tensor whose values depend on those of `sources`, these included; shapes alone do not count."""
    dependent = set(sources)
    for node in nodes:
        if node.op_type not in SHAPE_READERS and any(name in dependent for name in node.input):
            dependent.update(name for name in node.output if name)
    return dependent


def batch_of(tensor: str) -> onnx.NodeProto:
    """The node that computes `BATCH` from a tensor whose first dimension is the batch."""
    return helper.make_node("Shape", [tensor], [BATCH], BATCH, start=0, end=1)


def needed(
    nodes: Sequence[onnx.NodeProto], outputs: Iterable[str], given: Iterable[str] = ()
) -> list[onnx.NodeProto]:
    """The nodes that `outputs` need, in their order; nothing before the tensors in `given` is needed."""
    wanted, stop = set(outputs), set(given)
    wanted -= stop
    kept = []
    for node in reversed(nodes):
        if any(name in wanted for name in node.output):
            kept.append(node)
            wanted.update(reads(node) - stop)
    return kept[::-1]


def to_model(
    graph: Graph, network: Network, *, location: str | None = None, offsets: dict[str, int] | None = None
) -> onnx.ModelProto:
    """Serialise a graph with the weights it uses.

    Args:
        graph: what to write.
        network: holds the weights, types and operator sets.
        location: file of the external data, relative to the bundle; None puts every weight inside the model.
        offsets: byte offset in that file of each external weight; a weight without an offset stays inside.
    """
    types = {**network.types, **graph.declared}
    proto = helper.make_graph(
        list(graph.nodes),
        graph.name,
        [_value(name, types[name]) for name in graph.inputs],
        [_value(name, types[name]) for name in graph.outputs],
    )
    used = set().union(*map(reads, graph.nodes)) & network.weights.keys()
    outside = dict(offsets or {}) if location is not None else {}
    home = homes(proto, used - outside.keys())
    for name in sorted(used):
        if location is not None and name in outside:
            proto.initializer.append(_external(name, network.weights[name], location, outside[name]))
        else:
            home[name].initializer.append(numpy_helper.from_array(np.asarray(network.weights[name]), name))
    domains = {node.domain for node in graph.nodes} | {""}
    opsets = [helper.make_opsetid(domain, network.opsets[domain]) for domain in sorted(domains)]
    model = helper.make_model(proto, opset_imports=opsets, producer_name=PRODUCER)
    model.ir_version = helper.find_min_ir_version_for(opsets, ignore_unknown=True)
    return model


def _value(name: str, tensor: TensorType) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, tensor.element, ["N" if d is None else d for d in tensor.shape]
    )


def _external(name: str, value: np.ndarray, location: str, offset: int) -> onnx.TensorProto:
    tensor = onnx.TensorProto(
        name=name,
        data_type=helper.np_dtype_to_tensor_dtype(value.dtype),
        dims=value.shape,
        data_location=onnx.TensorProto.EXTERNAL,
    )
    for key, entry in (("location", location), ("offset", offset), ("length", value.nbytes)):
        tensor.external_data.add(key=key, value=str(entry))
    return tensor
