"""From nothing to the built-in bundle: train the network, export it, measure where its explanations lie.

Usage: python examples/surface/build.py -o surface.sise          (trains first, about 15 minutes on two cores)
       python examples/surface/build.py -o surface.sise --weights surface.pth
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import torch
from generate import CLASSES, SIZE, picture
from network import MEAN, STD, SurfaceNet
from sise_rt.export import export

import sise_rt

EXPLAINED_SEED = 77  # neither the training nor the test pictures


def ebpg(map_: np.ndarray, mask: np.ndarray) -> float:
    """Energy-based pointing game: the share of a map's sum that lies on the mask, 0..1 (SISE, metrics)."""
    return float(map_[mask].sum() / map_.sum())


def localisation(bundle: Path, count: int) -> dict[str, float]:
    """Explain defects that the network recognises, and compare the maps with the masks.

    Returns:
        pictures: how many.
        ebpg: mean share of the map on the defect, 0..1.
        area: mean share of the picture that the defect covers: what a map without information would reach.
        pointing: share of pictures whose highest value lies on the defect.
    """
    explainer = sise_rt.load(bundle, provider="cpu")
    energies, areas, hits, index = [], [], [], 0
    while len(energies) < count:
        image, mask, label = picture(EXPLAINED_SEED, index)
        index += 1
        if label == CLASSES.index("normal") or explainer.confidences(image).argmax() != label:
            continue
        map_ = explainer.explain(image, label).map
        energies.append(ebpg(map_, mask))
        areas.append(mask.mean())
        hits.append(mask[np.unravel_index(map_.argmax(), map_.shape)])
    means = {"ebpg": np.mean(energies), "area": np.mean(areas), "pointing": np.mean(hits)}
    return {"pictures": count} | {name: round(float(value), 3) for name, value in means.items()}


@click.command()
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The bundle.")
@click.option("--weights", type=click.Path(path_type=Path, exists=True), help="Skip the training.")
@click.option("--pictures", default=50, show_default=True, help="Defects to explain.")
def main(out: Path, weights: Path | None, pictures: int) -> None:
    """Train (unless weights are given), export, explain generated defects, print the figures."""
    if weights is None:
        weights = out.with_suffix(".pth")
        subprocess.run([sys.executable, Path(__file__).with_name("train.py"), "-o", weights], check=True)
    network = SurfaceNet(len(CLASSES))
    network.load_state_dict(torch.load(weights, weights_only=True))
    preprocess = {"mean": MEAN, "std": STD, "scale": 255.0, "crop_pct": 1.0, "crop_mode": "center"}
    preprocess |= {"color": "RGB", "interpolation": "bilinear"}
    report = export(
        network,
        out,
        example=torch.zeros(1, 3, SIZE, SIZE),
        activation="softmax",
        labels=CLASSES,
        preprocess=preprocess,
        licence="Apache-2.0",
        overwrite=True,
    )
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    figures = {"bytes": size, "maps": sum(block.channels for block in report.manifest.blocks)}
    print(json.dumps(figures | localisation(out, pictures), indent=2))


if __name__ == "__main__":
    main()
