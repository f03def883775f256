"""Your own PyTorch model, trained so that its confidence goes by what it looks at (EDDA).

    python examples/train_edda.py --epochs 12

The network and the pictures are stand-ins: squares in one of two textures, before a noisy background.
"""

from __future__ import annotations

from functools import partial

import click
import torch
from torch import nn

from sise_rt.training import Edda, edda_loss, grad_cam, joined
from sise_rt.training.edda import extra_class
from sise_rt.training.faithfulness import faithfulness
from sise_rt.training.occlusion import mean_colour


def pictures(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise (N, 1, 32, 32) with a square of stripes that lie (label 0) or stand (label 1)."""
    images, labels = 0.3 * torch.randn(count, 1, 32, 32), torch.randint(0, 2, (count,))
    stripes = torch.tensor([1.0, -1.0]).repeat(6).expand(12, 12)
    for image, label, (y, x) in zip(images, labels, torch.randint(0, 20, (count, 2)).tolist(), strict=True):
        image[0, y : y + 12, x : x + 12] += stripes if label else stripes.T
    return images, labels


@click.command()
@click.option("--epochs", type=int, default=12, show_default=True)
def main(epochs: int) -> None:
    """Train, and say how far the confidence goes by what Grad-CAM marks."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 8), (8, 16), (16, 32)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if outputs < 32 else []
    # One output more than classes: the background, which a picture is without its salient part.
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    edda = Edda(partial(grad_cam, model), warm_up=epochs // 3, fill=mean_colour)
    images, labels = pictures(400)
    for epoch in range(epochs):
        for index in torch.randperm(len(images)).split(40):
            copies = edda(model, images[index], labels[index], epoch)
            logits = model(joined(images[index], copies))
            loss = edda_loss(logits, labels[index], copies, background=extra_class)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}, {edda.occluded} pictures occluded so far")
    model.eval()
    images, labels = pictures(100)
    right = (model(images).argmax(1) == labels).float().mean()
    found = faithfulness(model, images[:20], labels[:20], grad_cam(model, images[:20], labels[:20]))
    print(f"accuracy {right:.2f}; alignment {found.alignment[0.1]:+.2f}, drop {found.values['drop']:.2f}")


if __name__ == "__main__":
    main()
