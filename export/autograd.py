"""Torch autograd on the exported program, in float64: the reference for a torch source's gradients."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


class _Recorder(torch.fx.Interpreter):
    def __init__(self, module: Any, names: Sequence[str]):
        super().__init__(module)
        self.names = set(names)
        self.recorded: dict[str, torch.Tensor] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        result = super().run_node(n)
        if n.name in self.names and isinstance(result, torch.Tensor):
            self.recorded[n.name] = result
        return result


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
        # A copy, as the program shares its parameters with the caller's module.
        recorder = _Recorder(copy.deepcopy(program.module()).double(), tensors)
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
