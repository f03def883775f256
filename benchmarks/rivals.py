"""The CAMs against pytorch-grad-cam, or where it lacks one against its equations in torch, on real photos.

    python -m benchmarks.rivals --photos 3

The network is torchvision's ResNet-18 in float64; ours is its bundle, in float32. Both maps are brought to
[0, 1]; printed is their largest difference anywhere, at most over the photos, and their lowest correlation.
Three methods are held against their equations besides. The package takes each map's mean off before
Eigen-CAM, so that its map is another one. It adds 1e-6 to the denominator of Grad-CAM++, which is not small
beside the squares of gradients below 0.01; its RefineCAM is made of that.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import conv2d, interpolate

import sise_rt
from benchmarks.material import photos
from benchmarks.reference import Network, exported, norm01, resnet
from sise_rt.answering import predict

MODEL = "resnet18"
PACKAGE = {  # methods that it has: its name, and whether it takes every block
    "grad-cam": ("GradCAM", False),
    "grad-cam++": ("GradCAMPlusPlus", False),
    "hirescam": ("HiResCAM", False),
    "layercam": ("LayerCAM", False),
    "xgrad-cam": ("XGradCAM", False),
    "eigen-cam": ("EigenCAM", False),
    "refinecam": ("RefineCAM", True),
}
Reference = Callable[[Network, torch.Tensor, int], np.ndarray]
"""From a network, an image (1, C, H, W) and a class to a map (H, W)."""


def of_package(name: str, every_block: bool) -> Reference:
    """A class of pytorch-grad-cam, at the last block or at every block."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def explain(network: Network, image: torch.Tensor, target: int) -> np.ndarray:
        model = network.model.requires_grad_(True)
        layers = [model.relu, model.layer1, model.layer2, model.layer3, model.layer4]
        cam = getattr(pytorch_grad_cam, name)(model, layers if every_block else layers[-1:])
        try:
            return cam(image, [ClassifierOutputTarget(target)])[0]
        finally:
            for each in getattr(cam, "base_cam_per_layer", [cam]):
                each.activations_and_grads.release()
            model.requires_grad_(False)

    return explain


def enlarged(map_: torch.Tensor, image: torch.Tensor) -> np.ndarray:
    """A map (h, w) at the image's resolution."""
    return interpolate(map_[None, None], image.shape[2:], mode="bilinear", align_corners=False)[0, 0].numpy()


def eigen_cam(network: Network, image: torch.Tensor, target: int) -> np.ndarray:
    """The maps' projection onto the strongest eigenvector of their products, without taking a mean off."""
    with torch.no_grad():
        maps = network(image)[1][-1][0]
    places = maps.flatten(1).T
    direction = torch.linalg.eigh(places.T @ places).eigenvectors[:, -1]
    projected = (places @ direction).reshape(maps.shape[1:])
    return enlarged((projected * projected.sum().sign()).clamp(min=0), image)


def blocks_of(network: Network, image: torch.Tensor, target: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Of each block the maps, and the gradient of the target's logit at them, (K, h, w) each."""
    logits, maps = network(image.clone().requires_grad_())
    gradients = torch.autograd.grad(logits[0, target], maps)
    return [(a[0].detach(), g[0]) for a, g in zip(maps, gradients, strict=True)]


def plus_plus(maps: torch.Tensor, gradient: torch.Tensor, image: torch.Tensor) -> np.ndarray:
    """Grad-CAM++ of a block."""
    below = 2 * gradient**2 + gradient**3 * maps.sum((1, 2), keepdim=True)
    share = torch.where(below == 0, 0, gradient**2 / below)
    weights = (share * gradient.clamp(min=0)).sum((1, 2))
    return enlarged(torch.einsum("k,khw->hw", weights, maps).clamp(min=0), image)


def grad_cam_plus_plus(network: Network, image: torch.Tensor, target: int) -> np.ndarray:
    """Grad-CAM++ of the last block."""
    return plus_plus(*blocks_of(network, image, target)[-1], image)


def refinecam(network: Network, image: torch.Tensor, target: int) -> np.ndarray:
    """The product of Grad-CAM++ of every block, each in [0, 1]."""
    cams = [plus_plus(maps, gradient, image) for maps, gradient in blocks_of(network, image, target)]
    return np.prod([norm01(cam) for cam in cams if np.ptp(cam)], axis=0)


def recipro_cam(network: Network, image: torch.Tensor, target: int) -> np.ndarray:
    """The confidence where a Gaussian of 3 x 3 around a place is all that is left of the last maps."""
    model, row = network.model, torch.tensor([1.0, 2.0, 1.0], dtype=image.dtype) / 4
    with torch.no_grad():
        maps = network(image)[1][-1]
        height, width = maps.shape[2:]
        places = torch.eye(height * width, dtype=image.dtype).reshape(-1, 1, height, width)
        masks = conv2d(places, torch.outer(row, row)[None, None], padding=1)
        logits = model.fc(model.avgpool(maps * masks).flatten(1))
    return enlarged(logits.softmax(1)[:, target].reshape(height, width), image)


def winsor_cam(network: Network, image: torch.Tensor, target: int) -> np.ndarray:
    """Grad-CAM of every block in [0, 1], times the block's mean weight, winsorised at the 90th percentile."""
    blocks = blocks_of(network, image, target)
    importance = torch.stack([gradient.mean().clamp(min=0) for _, gradient in blocks])
    used = importance > 0
    lowered = importance.clamp(max=torch.quantile(importance[used], 0.9))
    low, high = lowered[used].min(), lowered[used].max()
    total = np.zeros(image.shape[2:])
    for block in torch.nonzero(used).flatten().tolist():
        maps, gradient = blocks[block]
        cam = enlarged(torch.einsum("k,khw->hw", gradient.mean((1, 2)), maps).clamp(min=0), image)
        if np.ptp(cam):
            weight = 0.1 + 0.9 * float((lowered[block] - low) / (high - low)) if high > low else 1.0
            total += weight * norm01(cam)
    return total


EQUATIONS: dict[str, Reference] = {
    "grad-cam++": grad_cam_plus_plus,
    "eigen-cam": eigen_cam,
    "recipro-cam": recipro_cam,
    "refinecam": refinecam,
    "winsor-cam": winsor_cam,
}


def compared() -> list[tuple[str, str, Reference]]:
    """Method, what it is held against, and that."""
    package = [
        (method, f"pytorch-grad-cam {name}", of_package(name, every))
        for method, (name, every) in PACKAGE.items()
    ]
    return package + [(method, "its equations", reference) for method, reference in EQUATIONS.items()]


def measure(pictures: Sequence[Path]) -> None:
    """Print a line for each method, and what it is held against."""
    network = resnet(MODEL, torch.float64)
    with exported(MODEL) as bundle:
        explainer = sise_rt.load(bundle, "cpu")
        print(f"{'method':14} {'against':34} {'difference':>10} {'correlation':>12}")
        for method, name, reference in compared():
            differences, correlations = [], []
            for picture in pictures:
                tensor = explainer.prepare(picture).tensor
                target = int(np.argmax(predict(explainer.engine, tensor)))
                ours = norm01(explainer.explain(picture, target=target, method=method).raw)
                theirs = norm01(
                    reference(network, torch.from_numpy(tensor).double(), target).astype(np.float64)
                )
                differences.append(np.abs(ours - theirs).max())
                correlations.append(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1])
            print(f"{method:14} {name:34} {max(differences):10.1e} {min(correlations):12.8f}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=3)
    options = parser.parse_args(arguments)
    measure(photos(options.photos))


if __name__ == "__main__":
    main()
