"""Your own PyTorch model: export it once, then explain without torch.

    python examples/own_torch_model.py

The network here is a stand-in with random weights; put your own module and its weights in its place.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch
from sise_rt.export import export
from torch import nn

import sise_rt


class Network(nn.Module):
    """Three convolutional blocks and a linear classifier, (N, 3, 64, 64) -> (N, 4)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((3, 16), (16, 32), (32, 64)):
            layers += [
                nn.Conv2d(inputs, outputs, 3, padding=1),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(64, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of images."""
        return self.classifier(self.features(images).mean(dim=(2, 3)))


@click.command()
@click.option("-o", "--out", type=click.Path(path_type=Path), default="own_torch_model", show_default=True)
def main(out: Path) -> None:
    """Export the network and explain one picture."""
    torch.manual_seed(0)
    report = export(
        Network(),  # put into evaluation mode during the export
        out / "network.sise",
        example=torch.zeros(1, 3, 64, 64),
        labels=["cat", "dog", "horse", "sheep"],
        preprocess={"mean": (0.5,) * 3, "std": (0.5,) * 3, "crop_pct": 1.0},  # as in training
        overwrite=True,
    )
    print(*report.warnings, *report.notes, sep="\n")
    # From here on torch is not needed: this part runs on the edge box.
    picture = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    explanation = sise_rt.load(report.path).explain(picture, target="dog")
    print(*explanation.save(out, picture, "picture", blocks=True), sep="\n")


if __name__ == "__main__":
    main()
