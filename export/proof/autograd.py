"""Torch autograd on the exported program, in float64: the reference for a torch source's gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx.node import map_aggregate, map_arg
from torch.multiprocessing.reductions import StorageWeakRef


@dataclass(frozen=True)
class _Weight:
    """A float32 weight on its way to the nodes that use it."""

    tensor: torch.Tensor


class _Doubling:
    """Float64 copies of weights, for as long as a node needs them.

    Autograd keeps the weight itself for the way back and doubles it again there, so that one layer at a time
    is held in float64 and not the whole network.
    """

    def __init__(self) -> None:
        self._weights: dict[StorageWeakRef, torch.Tensor] = {}

    def double(self, value: Any) -> Any:
        if isinstance(value, torch.dtype) and value.is_floating_point:
            return torch.float64  # what the program casts to, or makes a tensor of
        if not isinstance(value, _Weight):
            return value
        doubled = value.tensor.detach().double()
        self._weights[StorageWeakRef(doubled.untyped_storage())] = value.tensor
        return doubled

    def pack(self, saved: torch.Tensor) -> Any:
        """What autograd keeps of a tensor: of a doubled weight, or a view of one, no more than its place."""
        weight = self._weights.get(StorageWeakRef(saved.untyped_storage()))
        if weight is None:
            return saved.detach()  # a node's own result would hold the node, which holds it
        return weight, saved.size(), saved.stride(), saved.storage_offset()

    def unpack(self, packed: Any) -> torch.Tensor:
        if isinstance(packed, torch.Tensor):
            return packed
        weight, *view = packed
        return weight.detach().double().as_strided(*view)


# Operators whose slope jumps where their input crosses a value, or where two values change their order.
KINKED = frozenset(
    "abs adaptive_max_pool2d amax amin celu clamp clamp_max clamp_min elu hardshrink hardsigmoid hardswish "
    "hardtanh leaky_relu max max_pool2d max_pool2d_with_indices maximum min minimum prelu relu relu6 selu "
    "softshrink sort threshold topk".split()
)


def inputs_of_kinks(program: Any) -> list[str]:
    """Names of the tensors of torch's exported program that an operator with a kink reads."""
    nodes = program.graph_module.graph.nodes
    kinked = (node for node in nodes if getattr(node.target, "_opname", "") in KINKED)
    return list(dict.fromkeys(source.name for node in kinked for source in node.all_input_nodes))


def _exact(result: Any) -> Any:
    """A node's result in float64, whose gradient arrives in the order of its elements.

    In torch 2.13 on the CPU, BatchNorm2d's derivative for one image is wrong where the gradient that arrives
    has strides such as (16, 1, 64, 16) for (1, 16, 4, 4).
    """
    if isinstance(result, (tuple, list)):
        return type(result)(map(_exact, result))
    if not isinstance(result, torch.Tensor) or not result.is_floating_point():
        return result
    result = result.double()
    if result.requires_grad:
        result.register_hook(_in_order)
    return result


def _in_order(gradient: torch.Tensor | None) -> torch.Tensor | None:
    return None if gradient is None else gradient.contiguous()  # none arrives at a result that is not used


# A view of float32 values may need a copy of float64 ones, which other kernels lay out in another order.
IN_ANY_ORDER = {
    op.default: torch.ops.aten.reshape.default for op in (torch.ops.aten.view, torch.ops.aten._unsafe_view)
}


def _differentiable(target: Any) -> Any:
    """The operator itself, or what it is made of: torch's primitives have no derivative."""
    made_of = getattr(getattr(target, "overloadpacket", None), "impl_aten", None)
    return made_of or IN_ANY_ORDER.get(target, target)


def merged_nodes(program: Any, kept: Container[str]) -> dict[str, str]:
    """Nodes of torch's exported program that the exporter merged with an equal one before them, by name.

    Whatever reads the merged tensor counts in its gradient.

    Args:
        program: torch's exported program.
        kept: names of the tensors that the exporter left.
    """
    first: dict[tuple[Any, ...], str] = {}
    merged: dict[str, str] = {}
    for node in program.graph_module.graph.nodes:
        if node.op != "call_function":
            continue
        read = map_arg((node.args, node.kwargs), lambda source: merged.get(source.name, source.name))
        name = first.setdefault((node.target, repr(read)), node.name)
        if name != node.name and name in kept and node.name not in kept:
            merged[node.name] = name
    return merged


class _Recorder(torch.fx.Interpreter):
    """Runs a program in float64 and records tensors by name; the program's weights stay as they are."""

    def __init__(
        self,
        module: Any,
        names: Sequence[str],
        doubling: _Doubling,
        values: Mapping[str, np.ndarray],
        merged: Mapping[str, str],
    ):
        super().__init__(module)
        self.names, self.doubling, self.values = set(names), doubling, values
        self.merged, self.shared = merged, dict.fromkeys(merged.values())
        self.recorded: dict[str, torch.Tensor] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        if n.name in self.merged:
            return self.shared[self.merged[n.name]]
        result = self._computed(n)
        if n.name in self.shared:
            self.shared[n.name] = result
        return result

    def _computed(self, n: torch.fx.Node) -> Any:
        result = _exact(super().run_node(n))
        if n.name in self.values:
            # The tensor takes another value, by a rounding error, and keeps its place in the derivative.
            held, value = result.detach(), torch.from_numpy(self.values[n.name])
            off = torch.where(held == value, 0, value - held)  # no difference of infinities, which pad pools
            result = result + off
        if n.name in self.names and isinstance(result, torch.Tensor):
            self.recorded[n.name] = result
        return result

    def fetch_attr(self, target: str) -> Any:
        value = super().fetch_attr(target)
        return _Weight(value) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = map_aggregate((args, kwargs), self.doubling.double)
        return super().call_function(_differentiable(target), args, kwargs)


def autograd_reference(
    program: Any,
    images: np.ndarray,
    target: int,
    activation: str,
    removed: str | None,
    tensors: Sequence[str],
    values: Mapping[str, np.ndarray] | None = None,
    merged: Mapping[str, str] | None = None,
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Output, feature maps and their gradients by torch autograd on the exported program, in float64.

    Args:
        program: torch's exported program.
        images: (N, C, H, W).
        target: whose log-odds are differentiated.
        activation: `softmax`, `sigmoid` or `none`.
        removed: the ONNX operator that the program's output went through, None for logits.
        tensors: names of the feature maps.
        values: what tensors of the program take instead of their own float64 values, by name. With those of a
            float32 run every unit is on the side of its kink that it was on there.
        merged: nodes that stand for an earlier one, from `merged_nodes`.

    Returns:
        The program's output (N, classes), the maps and the gradients of the log-odds with respect to them,
        shaped alike; also with respect to the images, under the name `images`. Tensors that the program does
        not have (the optimiser renamed them) are left out of both dicts.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch copies its own deprecated structures
        doubling = _Doubling()
        recorder = _Recorder(program.module(), tensors, doubling, values or {}, merged or {})
    with torch.autograd.graph.saved_tensors_hooks(doubling.pack, doubling.unpack):
        pictures = torch.from_numpy(images).double().requires_grad_(True)
        output = recorder.run(pictures)
    output = output[0] if isinstance(output, (tuple, list)) else output
    maps, gradients = recorder.recorded, {}
    if maps:
        undo: dict[str | None, Callable[[torch.Tensor], torch.Tensor]] = {
            "Softmax": torch.log,
            "Sigmoid": logit,
        }
        logits = undo[removed](output) if removed in undo else output
        odds = log_odds(logits.reshape(len(images), -1), target, activation).sum()
        of_odds = torch.autograd.grad(odds, [*maps.values(), pictures])
        gradients = {name: g.numpy() for name, g in zip([*maps, "images"], of_odds, strict=True)}
    return output.detach().numpy(), {name: value.detach().numpy() for name, value in maps.items()}, gradients


def logit(p: torch.Tensor) -> torch.Tensor:
    """The log-odds of probabilities, finite at 0 and 1 as the bundle has them."""
    tiny = float(np.finfo(np.float32).tiny)
    return p.clamp_min(tiny).log() - (1 - p).clamp_min(tiny).log()


def log_odds(logits: torch.Tensor, target: int, activation: str) -> torch.Tensor:
    """The target's log-odds, (N,), or output; a single logit has the two sides -z and z."""
    if logits.shape[1] == 1 and activation != "none":
        logits = torch.cat([-logits, logits], dim=1)
    chosen = logits[:, target]
    if activation != "softmax":
        return chosen
    others = torch.cat([logits[:, :target], logits[:, target + 1 :]], dim=1)
    return chosen - others.logsumexp(dim=1)
