"""Residual networks for the material's two sets of industrial defects: trained, exported, evaluated.

    python benchmarks/industrial.py neu_det -o FOLDER
    python benchmarks/industrial.py magnetic_tile -o FOLDER

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
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from reference import MATERIAL, NORMAL, resnet
from sise_rt.export import export
from torch import nn

from sise_rt import cli

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


def pictures(name: str) -> list[tuple[Path, str]]:
    """Every picture and its class: the defect by file name, or by folder whether there is one at all.

    The tiles are too few to tell their five kinds of defects apart.
    """
    folder = MATERIAL / "images" / name
    if name == "neu_det":
        files = sorted((folder / "IMAGES").iterdir())
        return [(path, path.stem.rpartition("_")[0]) for path in files]
    files = sorted(folder.glob("MT_*/Imgs/*.jpg"))
    return [(path, CLASS_OF[path.parts[-3]]) for path in files]


def split(found: list[tuple[Path, str]]) -> tuple[list[tuple[Path, str]], list[tuple[Path, str]]]:
    """Three fifths to train and two to test, by the hash of the file's name."""
    parts: tuple[list, list] = ([], [])
    for path, label in found:
        parts[hashlib.sha256(path.name.encode()).digest()[0] % 5 >= 3].append((path, label))
    return parts


def tensors(
    found: list[tuple[Path, str]], classes: list[str], size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (N, 3, size, size) in [0, 1], and class indices."""
    read = [
        cv2.resize(cv2.imread(str(path)), (size, size), interpolation=cv2.INTER_AREA) for path, _ in found
    ]
    images = torch.from_numpy(np.stack(read)[..., ::-1].copy()).permute(0, 3, 1, 2).float() / 255
    return images, torch.tensor([classes.index(label) for _, label in found])


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


def network(classes: int) -> nn.Module:
    """Five blocks, the first at full resolution."""
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU())
    blocks = [Residual(a, b) for a, b in zip((16, *WIDTHS), WIDTHS, strict=False)]
    return nn.Sequential(stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], classes))


def batches(images: torch.Tensor, labels: torch.Tensor, rng: torch.Generator) -> Iterator[tuple]:
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
    """Rare classes count as much as frequent ones."""
    weight = 1 / torch.bincount(labels, minlength=classes).clamp(min=1)
    return nn.CrossEntropyLoss(weight / weight.mean(), label_smoothing=0.05)


def train_small(images: torch.Tensor, labels: torch.Tensor, classes: int, epochs: int) -> nn.Module:
    """Train the small network from nothing, seeded."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(0)
    model, loss_of = network(classes), loss_for(labels, classes)
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
        seen = torch.stack([torch.cat([before(part) for part in view.split(16)]) for view in turned])
    rates = [{"params": model.layer4.parameters(), "lr": 1e-4}, {"params": model.fc.parameters(), "lr": 1e-3}]
    optimizer = torch.optim.AdamW(rates, weight_decay=1e-2)
    for epoch in range(epochs):
        total = 0.0
        for index in torch.randperm(len(images), generator=rng).split(16):
            positions = torch.randint(0, 8, (len(index),), generator=rng)
            loss = loss_of(after(seen[positions, index]), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(index)
        print(f"epoch {epoch + 1} of {epochs}: loss {total / len(images):.3f}", flush=True)
    return model.requires_grad_(False).eval()


TRAIN = {"neu_det": train_small, "magnetic_tile": train_last_stage}


def normal(name: str, images: torch.Tensor) -> dict[str, tuple[float, ...]]:
    """Mean and standard deviation: the set's own, or those that the ImageNet weights expect."""
    if name == "magnetic_tile":
        return NORMAL
    return {
        "mean": tuple(images.mean(dim=(0, 2, 3)).tolist()),
        "std": tuple(images.std(dim=(0, 2, 3)).tolist()),
    }


def main() -> None:
    """Train unless the bundle is there, then evaluate."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=FORMATS)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--limit", type=int, default=120, help="pictures to explain, at most")
    arguments = parser.parse_args()
    epochs = arguments.epochs or EPOCHS[arguments.dataset]
    found = pictures(arguments.dataset)
    classes = sorted({label for _, label in found})
    to_train, to_test = split(found)
    arguments.out.mkdir(parents=True, exist_ok=True)
    bundle, listed = arguments.out / f"{arguments.dataset}.sise", arguments.out / "pictures.txt"
    if not bundle.exists():
        size = SIZES[arguments.dataset]
        images, labels = tensors(to_train, classes, size)
        settings = normal(arguments.dataset, images)
        mean, std = (torch.tensor(settings[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
        model = TRAIN[arguments.dataset]((images - mean) / std, labels, len(classes), epochs)
        images, labels = tensors(to_test, classes, size)
        with torch.no_grad():
            parts = ((images - mean) / std).split(16)
            right = torch.cat([model(part).argmax(1) for part in parts]) == labels
        print(f"accuracy {right.float().mean():.3f} on {len(to_test)} pictures, {len(to_train)} trained on")
        export(
            model, bundle, labels=classes, example=torch.zeros(1, 3, size, size), activation="softmax",
            preprocess=settings | {"crop_pct": 1.0, "crop_mode": "squash"},
        )  # fmt: skip
    listed.write_text("".join(f"{path.name}\n" for path, _ in to_test))
    options = ["--limit", str(arguments.limit), "--only", str(listed)]
    if arguments.dataset == "magnetic_tile":
        class_map = arguments.out / "classes.csv"
        class_map.write_text("".join(f"{folder},{label}\n" for folder, label in CLASS_OF.items()))
        options += ["--class-map", str(class_map)]
    cli.main([
        *("evaluate", "-m", str(bundle), "--data", str(MATERIAL / "images" / arguments.dataset)),
        *("--format", FORMATS[arguments.dataset], *options),
        *("--method", METHODS[arguments.dataset], "--metric", METRICS, "-o", str(arguments.out / "report")),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
