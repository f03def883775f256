"""SISE written from its equations in float64, one full-size mask at a time: what the runtime must give.

Images are (1, C, H, W), preprocessed; the feature maps A_b of a block (K, h, w); its visualization map V_b
(H, W). This file needs torch and NumPy only, as other packages' environments import it (`peers/scripts`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from benchmarks.material import IMAGENET_NORM, MODELS


@contextmanager
def exported(name: str) -> Iterator[Path]:
    """A bundle of the material's ResNet `name`, made by way of torch, for as long as the block lasts."""
    import_torchvision()
    from sise_rt.export import export

    with tempfile.TemporaryDirectory(prefix="sise-rt-") as folder:
        yield export(
            f"torchvision:{name}",
            Path(folder) / f"{name}.sise",
            weights=str(MODELS / f"{name}.npz"),
            activation="softmax",
            input_size=(224, 224),
            preprocess=IMAGENET_NORM,
        ).path


def import_torchvision() -> Any:
    """Import torchvision, also one built for CUDA beside a torch for the CPU."""
    try:
        import torchvision
    except RuntimeError:
        # It describes two operators that this torch lacks; they vanish with the library object.
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision

        torchvision.stand_in_operators = library
    return torchvision


class Network:
    """A torch model that also gives the feature maps of its blocks.

    Args:
        model: images (N, C, H, W) to logits.
        taps: one module a block, whose output is the block's.
    """

    def __init__(self, model: torch.nn.Module, taps: Sequence[torch.nn.Module]):
        self.model, self._taps = model.eval().requires_grad_(False), taps
        self._outputs: dict[int, torch.Tensor] = {}
        for index, tap in enumerate(taps):
            tap.register_forward_hook(self._keep(index))

    def _keep(self, index: int) -> Callable[..., None]:
        def hook(_module: object, _inputs: object, output: torch.Tensor) -> None:
            self._outputs.setdefault(index, output)  # the first, where a module is used again

        return hook

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits (N, classes) and every block's output (N, K, h, w)."""
        self._outputs.clear()
        logits = self.model(images)
        return logits, [self._outputs[i] for i in range(len(self._taps))]


def resnet(name: str, dtype: torch.dtype) -> Network:
    """ResNet `name` of torchvision with the material's weights; five blocks as in the paper."""
    model = getattr(import_torchvision().models, name)(weights=None).to(dtype)
    with np.load(MODELS / f"{name}.npz") as weights:
        state = {key: torch.from_numpy(weights[key]).to(dtype) for key in weights.files}
    model.load_state_dict(state, strict=False)
    for module in model.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False  # else the block's output is overwritten by what follows
    return Network(model, [model.relu, model.layer1, model.layer2, model.layer3, model.layer4])


def confidence(logits: torch.Tensor, activation: str) -> torch.Tensor:
    """The confidence Psi in every class, (N, classes) in [0, 1]."""
    return logits.softmax(1) if activation == "softmax" else logits.sigmoid()


def log_odds(logits: torch.Tensor, target: int, activation: str) -> torch.Tensor:
    """The log-odds of the target's confidence, (N,)."""
    if activation == "sigmoid":
        return logits[:, target]
    others = torch.cat([logits[:, :target], logits[:, target + 1 :]], 1)
    return logits[:, target] - others.logsumexp(1)


def features(
    network: Network, image: torch.Tensor, score: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Logits (classes,), and of each block A_b (K, h, w) and the gradient scores alpha_b (K,) of eq. 6.

    Args:
        network: in evaluation mode.
        image: (1, C, H, W).
        score: of logits (1, classes), what alpha is the derivative of: its mean over the locations of A_b.
    """
    logits, maps = network(image.clone().requires_grad_())
    gradients = torch.autograd.grad(score(logits).sum(), maps)
    return logits[0].detach(), [m[0].detach() for m in maps], [g[0].mean((1, 2)) for g in gradients]


def selected(alpha: np.ndarray, mu: float) -> np.ndarray:
    """Which maps are kept, bool (K,): those whose alpha exceeds mu times the largest (eq. 7 and 8), and 0."""
    beta = max(alpha)
    return np.array([a > mu * beta and a > 0 for a in alpha])


@torch.no_grad()
def visualizations(
    network: Network,
    image: torch.Tensor,
    maps: torch.Tensor,
    target: int,
    activation: str,
    choices: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """V_b (H, W) of eq. 10 to 12 for each choice of maps to keep; a mask that several keep is scored once.

    Args:
        network: in evaluation mode.
        image: (1, C, H, W).
        maps: A_b (K, h, w).
        target: class index.
        activation: "softmax" or "sigmoid".
        choices: each bool (K,).
    """
    size = tuple(image.shape[2:])
    totals, counts = [np.zeros(size) for _ in choices], [0] * len(choices)
    for k in np.flatnonzero(np.any(choices, axis=0)):
        resized = interpolate(maps[k][None, None], size, mode="bilinear", align_corners=False)
        low, high = resized.min(), resized.max()
        if high - low < 1e-6 * max(1, abs(high)):
            continue
        mask = (resized - low) / (high - low)
        psi = confidence(network(image * mask)[0], activation)[0, target]
        term = (psi * mask / mask.sum())[0, 0].numpy()
        for i, choice in enumerate(choices):
            if choice[k]:
                totals[i] += term
                counts[i] += 1
    return [total / count for total, count in zip(totals, counts, strict=True)]


def norm01(values: np.ndarray) -> np.ndarray:
    """Min-max to [0, 1]."""
    return (values - values.min()) / (values.max() - values.min())


def otsu_threshold(values: np.ndarray, bins: int = 256) -> float:
    """Otsu 1979 as in scikit-image: bins from minimum to maximum, the threshold is a bin's centre."""
    counts, edges = np.histogram(values, bins)
    centres = (edges[:-1] + edges[1:]) / 2
    best, threshold = -1.0, 0.0
    for i in range(1, bins):
        below, above = counts[:i].sum(), counts[i:].sum()
        mean_below = (counts[:i] * centres[:i]).sum() / below
        mean_above = (counts[i:] * centres[i:]).sum() / above
        between = below * above * (mean_below - mean_above) ** 2
        if between > best:
            best, threshold = between, centres[i - 1]
    return float(threshold)


@dataclass(frozen=True)
class Fused:
    """An explanation.

    Attributes:
        raw: (H, W), before its normalisation to [0, 1].
        thresholds: Otsu's, of every block but the first.
    """

    raw: np.ndarray
    thresholds: list[float]


def fused(maps: Sequence[np.ndarray]) -> Fused:
    """The normalised visualization maps U_1 ... U_B, (H, W) in [0, 1], fused as in figure 5 of the paper."""
    raw, thresholds = maps[0], [otsu_threshold(u) for u in maps[1:]]
    for u, threshold in zip(maps[1:], thresholds, strict=True):
        raw = (raw + u) * (u > threshold)
    return Fused(raw, thresholds)


def undecided(maps: Sequence[np.ndarray], thresholds: Sequence[float], margin: float = 1e-4) -> np.ndarray:
    """The pixels (H, W) whose U lies within `margin` of a threshold."""
    near = [abs(u - threshold) <= margin for u, threshold in zip(maps[1:], thresholds, strict=True)]
    return np.any(near, axis=0) if near else np.zeros(maps[0].shape, bool)
