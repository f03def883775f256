"""Residual networks for the material's two sets of industrial defects: trained, exported, evaluated.

    python -m benchmarks.industrial neu_det -o FOLDER
    python -m benchmarks.industrial magnetic_tile -o FOLDER

Three pictures in five train the network: a small one from nothing for the steel, and for the tiles, which
are too few for that, the last stage of ResNet-18 with ImageNet weights. Of the other pictures 120 at most
(`--limit`), drawn evenly, are explained by SISE with either fusion, Ada-SISE, Grad-CAM, Grad-CAM++,
Integrated Grad-CAM, Score-CAM, integrated gradients and, with the small network, RISE. FOLDER gets the
bundle, the list of all the others, and the report of `sise-rt evaluate`. Run it again after an interruption:
the report goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from sise_rt.export import export
from torch import nn

from benchmarks.material import IMAGENET_NORM, IMAGES, SQUASHED
from benchmarks.reference import resnet
from sise_rt.commands.group import run

SIZES = {"neu_det": 128, "magnetic_tile": 224}
WIDTHS = (16, 32, 64, 96)
METHODS = {
    "neu_det": (
        "sise,sise:fusion=otsu-soft,ada-sise,grad-cam,grad-cam++,integrated-grad-cam,score-cam,"
        "rise:masks=1000,integrated-gradients"
    ),
    "magnetic_tile": (
        "sise,sise:fusion=otsu-soft,ada-sise,grad-cam,grad-cam++,integrated-grad-cam,score-cam,"
        "integrated-gradients"
    ),
}
METRICS = "ebpg,miou,bbox,pointing-game,drop,increase,insertion,deletion"
CLASS_OF = {f"MT_{kind}": "defect" for kind in ("Blowhole", "Break", "Crack", "Fray", "Uneven")}
CLASS_OF["MT_Free"] = "good"
FORMATS = {"neu_det": "voc", "magnetic_tile": "masks"}
EPOCHS = {"neu_det": 30, "magnetic_tile": 20}


Labelled = list[tuple[Path, str]]
"""Pictures and their classes."""


def pictures(name: str) -> Labelled:
    """Every picture and its class: the defect by file name, or by folder whether there is one at all.

    The tiles are too few to tell their five kinds of defects apart.
    """
    folder = IMAGES / name
    if name == "neu_det":
        files = sorted((folder / "IMAGES").iterdir())
        return [(path, path.stem.rpartition("_")[0]) for path in files]
    files = sorted(folder.glob("MT_*/Imgs/*.jpg"))
    return [(path, CLASS_OF[path.parts[-3]]) for path in files]


def split(labelled: Labelled) -> tuple[Labelled, Labelled]:
    """Three fifths to train and two to test, by the hash of the file's name."""
    parts: tuple[Labelled, Labelled] = ([], [])
    for path, label in labelled:
        parts[hashlib.sha256(path.name.encode()).digest()[0] % 5 >= 3].append((path, label))
    return parts


def tensors(labelled: Labelled, classes: list[str], size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (N, 3, size, size) in [0, 1], and class indices (N,)."""
    read = [
        cv2.resize(cv2.imread(str(path)), (size, size), interpolation=cv2.INTER_AREA) for path, _ in labelled
    ]
    images = torch.from_numpy(np.stack(read)[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255
    return images, torch.tensor([classes.index(label) for _, label in labelled])


class Residual(nn.Module):
    """Two convolutions around a projected shortcut; halves the resolution."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs))
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (N, inputs, H, W) to (N, outputs, H / 2, W / 2)."""
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


def small_network(classes: int) -> nn.Module:
    """A residual network of five blocks, the first at full resolution."""
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU())
    blocks = [Residual(a, b) for a, b in zip((16, *WIDTHS), WIDTHS, strict=False)]
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], classes))


def batches(
    images: torch.Tensor, labels: torch.Tensor, rng: torch.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of 32, flipped and turned at random, each a little lighter or darker."""
    for index in torch.randperm(len(images), generator=rng).split(32):
        batch = images[index]
        turns = torch.randint(0, 4, (len(index),), generator=rng)
        flips = torch.rand(len(index), generator=rng) < 0.5
        turned = [
            torch.rot90(x.flip(2) if flip else x, int(t), (1, 2))
            for x, t, flip in zip(batch, turns, flips, strict=True)
        ]
        light = 1 + 0.2 * torch.randn((len(index), 1, 1, 1), generator=rng)
        yield torch.stack(turned) * light, labels[index]


def loss_for(labels: torch.Tensor, classes: int) -> nn.Module:
    """Cross-entropy in which rare classes count as much as frequent ones."""
    weight = 1 / torch.bincount(labels, minlength=classes).clamp(min=1)
    return nn.CrossEntropyLoss(weight / weight.mean(), label_smoothing=0.05)


def train_small(images: torch.Tensor, labels: torch.Tensor, classes: int, epochs: int) -> nn.Module:
    """Train the small network from nothing, seeded."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    model, loss_of = small_network(classes), loss_for(labels, classes)
    steps = epochs * -(-len(images) // 32)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for epoch in range(epochs):
        total = 0.0
        for x, y in batches(images, labels, rng):
            loss = loss_of(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(x)
        print(f"epoch {epoch + 1} of {epochs}: loss {total / len(images):.3f}", flush=True)
    return model.eval()


def train_last_stage(images: torch.Tensor, labels: torch.Tensor, classes: int, epochs: int) -> nn.Module:
    """Train the last stage of ResNet-18 and a new classifier, seeded; the stages before stay as they are."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    model, loss_of = resnet("resnet18", torch.float32).model, loss_for(labels, classes)
    model.fc = nn.Linear(512, classes)
    before = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool, *list(model.children())[4:7])
    after = nn.Sequential(model.layer4, model.avgpool, nn.Flatten(), model.fc).requires_grad_(True)
    with torch.no_grad():  # of every picture in each of its eight positions, once
        turned = [torch.rot90(x, k, (2, 3)) for x in (images, images.flip(3)) for k in range(4)]
        features = torch.stack([torch.cat([before(part) for part in view.split(16)]) for view in turned])
    rates = [{"params": model.layer4.parameters(), "lr": 1e-4}, {"params": model.fc.parameters(), "lr": 1e-3}]
    optimizer = torch.optim.AdamW(rates, weight_decay=1e-2)
    for epoch in range(epochs):
        total = 0.0
        for index in torch.randperm(len(images), generator=rng).split(16):
            positions = torch.randint(0, 8, (len(index),), generator=rng)
            loss = loss_of(after(features[positions, index]), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(index)
        print(f"epoch {epoch + 1} of {epochs}: loss {total / len(images):.3f}", flush=True)
    return model.requires_grad_(False).eval()


TRAIN: dict[str, Callable[[torch.Tensor, torch.Tensor, int, int], nn.Module]] = {
    "neu_det": train_small,
    "magnetic_tile": train_last_stage,
}


def normal(name: str, images: torch.Tensor) -> dict[str, tuple[float, ...]]:
    """Mean and standard deviation a channel: the set's own, or those that the ImageNet weights expect."""
    if name == "magnetic_tile":
        return IMAGENET_NORM
    return {
        "mean": tuple(images.mean(dim=(0, 2, 3)).tolist()),
        "std": tuple(images.std(dim=(0, 2, 3)).tolist()),
    }


def export_trained(dataset: str, bundle: Path, parts: tuple[Labelled, Labelled], epochs: int) -> None:
    """Train the set's network on one part of the pictures, print its accuracy on the other, and export it."""
    (to_train, to_test), size = parts, SIZES[dataset]
    classes = sorted({label for part in parts for _, label in part})
    images, labels = tensors(to_train, classes, size)
    settings = normal(dataset, images)
    mean, std = (torch.tensor(settings[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    model = TRAIN[dataset]((images - mean) / std, labels, len(classes), epochs)
    images, labels = tensors(to_test, classes, size)
    with torch.no_grad():
        right = torch.cat([model(x).argmax(1) for x in ((images - mean) / std).split(16)]) == labels
    print(f"accuracy {right.float().mean():.3f} on {len(to_test)} pictures, {len(to_train)} trained on")
    export(
        model, bundle, labels=classes, example=torch.zeros(1, 3, size, size), activation="softmax",
        preprocess=settings | SQUASHED,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Train unless the bundle is there, then evaluate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=FORMATS)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--limit", type=int, default=120, help="pictures to explain, at most")
    options = parser.parse_args(arguments)
    dataset, out = options.dataset, options.out
    parts = split(pictures(dataset))
    out.mkdir(parents=True, exist_ok=True)
    bundle, listed = out / f"{dataset}.sise", out / "pictures.txt"
    if not bundle.exists():
        export_trained(dataset, bundle, parts, options.epochs or EPOCHS[dataset])
    listed.write_text("".join(f"{path.name}\n" for path, _ in parts[1]))
    restrictions = ["--limit", str(options.limit), "--only", str(listed)]
    if dataset == "magnetic_tile":
        class_map = out / "classes.csv"
        class_map.write_text("".join(f"{folder},{label}\n" for folder, label in CLASS_OF.items()))
        restrictions += ["--class-map", str(class_map)]
    code = run([
        *("evaluate", "-m", str(bundle), "--data", str(IMAGES / dataset)),
        *("--format", FORMATS[dataset], *restrictions),
        *("--method", METHODS[dataset], "--metric", METRICS, "-o", str(out / "report")),
    ])  # fmt: skip
    sys.exit(code)


if __name__ == "__main__":
    main()
