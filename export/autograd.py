"""Torch autograd on the exported program, in float64: the reference for a torch source's gradients."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.fx.node import map_aggregate
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
        if not isinstance(value, _Weight):
            return value
        doubled = value.tensor.detach().double()
        self._weights[StorageWeakRef(doubled.untyped_storage())] = value.tensor
        return doubled

    def pack(self, saved: torch.Tensor) -> Any:
        """What autograd keeps of a tensor: of a doubled weight, or of a view of one, no more than its place."""
        weight = self._weights.get(StorageWeakRef(saved.untyped_storage()))
        if weight is None:
            return saved.detach()  # a node's own result would hold the node, which holds it
        return weight, saved.size(), saved.stride(), saved.storage_offset()

    def unpack(self, packed: Any) -> torch.Tensor:
        if isinstance(packed, torch.Tensor):
            return packed
        weight, *view = packed
        return weight.detach().double().as_strided(*view)


class _Recorder(torch.fx.Interpreter):
    """Runs a program in float64 and records tensors by name; the program's weights stay as they are."""

    def __init__(self, module: Any, names: Sequence[str], doubling: _Doubling):
        super().__init__(module)
        self.names, self.doubling = set(names), doubling
        self.recorded: dict[str, torch.Tensor] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        result = super().run_node(n)
        if n.name in self.names and isinstance(result, torch.Tensor):
            self.recorded[n.name] = result
        return result

    def fetch_attr(self, target: str) -> Any:
        value = super().fetch_attr(target)
        return _Weight(value) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = map_aggregate((args, kwargs), self.doubling.double)
        return super().call_function(target, args, kwargs)


def autograd_reference(
    program: Any,
    images: np.ndarray,
    target: int,
    activation: str,
    removed: str | None,
    tensors: Sequence[str],
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Output, feature maps and gradient scores by torch autograd on the exported program, in float64.

    Args:
        program: torch's exported program.
        images: (N, C, H, W).
        target: whose log-odds are differentiated.
        activation: `softmax` or `sigmoid`.
        removed: the ONNX operator that the program's output went through, None for logits.
        tensors: names of the feature maps.

    Returns:
        The program's output (N, classes), the maps (N, K, h, w) and the scores (N, K). Tensors that the
        program does not have (the optimiser renamed them) are left out of both dicts.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch copies its own deprecated structures
        doubling = _Doubling()
        recorder = _Recorder(program.module(), tensors, doubling)
    with torch.autograd.graph.saved_tensors_hooks(doubling.pack, doubling.unpack):
        output = recorder.run(torch.from_numpy(images).double().requires_grad_(True))
    output = output[0] if isinstance(output, (tuple, list)) else output
    maps, alphas = recorder.recorded, {}
    if maps:
        undo = {"Softmax": torch.log, "Sigmoid": torch.logit}
        logits = undo[removed](output) if removed in undo else output
        odds = log_odds(logits.flatten(1), target, activation).sum()
        gradients = torch.autograd.grad(odds, list(maps.values()))
        alphas = {name: g.mean(dim=(2, 3)).numpy() for name, g in zip(maps, gradients, strict=True)}
    return output.detach().numpy(), {name: value.detach().numpy() for name, value in maps.items()}, alphas


def log_odds(logits: torch.Tensor, target: int, activation: str) -> torch.Tensor:
    """The target's log-odds, (N,); a single logit has the two sides -z and z."""
    if logits.shape[1] == 1:
        logits = torch.cat([-logits, logits], dim=1)
    chosen = logits[:, target]
    if activation == "sigmoid":
        return chosen
    others = torch.cat([logits[:, :target], logits[:, target + 1 :]], dim=1)
    return chosen - others.logsumexp(dim=1)
