"""SISE on the runtime against SISE written from the equations in float64, on real photos.

    python -m benchmarks.exactness --photos 10 --model resnet18

Prints a line a photo: masks scored; kept maps that differ, and the largest gradient score among them relative
to the block's largest; the largest error of a normalised V_b, with the reference's own selection and with the
runtime's; the largest error of the raw explanation outside pixels within 1e-4 of an Otsu threshold, with the
runtime's selection; and how many pixels these are.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import sise_rt
from benchmarks.material import photos
from benchmarks.reference import (
    Network,
    confidence,
    exported,
    features,
    fused,
    norm01,
    resnet,
    selected,
    undecided,
    visualizations,
)
from sise_rt.phases.features import extract
from sise_rt.phases.masks import select


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=10)
    parser.add_argument("--model", choices=("resnet18", "resnet50"), default="resnet18")
    parser.add_argument("--mu", type=float, default=0.0)
    options = parser.parse_args(arguments)
    network = resnet(options.model, torch.float64)
    print(f"{'photo':34} masks  flips  (alpha)  V own    V same   explanation  pixels left out", flush=True)
    with exported(options.model) as bundle:
        explainer = sise_rt.load(bundle)
        rows = [compare(explainer, network, photo, options.mu) for photo in photos(options.photos)]
    worst = [max(column) for column in zip(*rows, strict=True)]
    print(f"worst of {len(rows)} photos: V own {worst[0]:.1e}, V same {worst[1]:.1e}, E {worst[2]:.1e}")


def compare(
    explainer: sise_rt.Explainer, network: Network, photo: Path, mu: float
) -> tuple[float, float, float]:
    """One photo's errors: of V with the reference's selection, with the runtime's, and of the explanation."""
    picture = explainer.prepare(photo)
    explanation = explainer.explain(picture, mu=mu)
    target = explanation.target
    runtime = extract(explainer.engine, picture.tensor, np.array([target]))
    image = torch.from_numpy(picture.tensor).double()
    # Eq. 6 as it stands: the gradient of the probability, which float64 can afford.
    _, maps, alphas = features(network, image, lambda z: confidence(z, "softmax")[:, target])
    flips, farthest, own, same = 0, 0.0, [], []
    for a, alpha, runtime_alpha in zip(maps, alphas, runtime.alphas, strict=True):
        alpha = alpha.numpy()
        choices = [selected(alpha, mu), select(runtime_alpha[0], mu)]
        differ = choices[0] != choices[1]
        flips += int(differ.sum())
        farthest = max(farthest, float(np.max(np.abs(alpha[differ] / alpha.max() - mu), initial=0.0)))
        v_own, v_same = visualizations(network, image, a, target, "softmax", choices)
        own.append(norm01(v_own))
        same.append(norm01(v_same))
    u = [block.visualization for block in explanation.blocks]
    errors = [
        max(float(abs(ours - exact).max()) for ours, exact in zip(u, reference, strict=True))
        for reference in (own, same)
    ]
    expected = fused(same)
    left_out = undecided(same, expected.thresholds)
    error = float(abs(explanation.raw - expected.raw)[~left_out].max())
    print(
        f"{photo.stem[:34]:34} {explanation.masks:5d}  {flips:5d}  {farthest:.1e}  {errors[0]:.1e}  "
        f"{errors[1]:.1e}  {error:.1e}      {left_out.sum()}",
        flush=True,
    )
    return errors[0], errors[1], error


if __name__ == "__main__":
    main()
