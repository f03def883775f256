"""Train the demo network on generated surfaces, on the CPU, the same way every time.

Explanations hide parts of the picture behind smooth masks, so the network sees such masks in training
and the label follows what is left to see: a defect that is hidden counts as a normal surface.

Usage: python examples/surface/train.py -o surface.pth
"""

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from multiprocessing import Pool
from pathlib import Path

import cv2
import numpy as np
import torch
from generate import CLASSES, SIZE, picture
from network import MEAN, STD, SurfaceNet
from torch.nn import functional as F

NORMAL = CLASSES.index("normal")
HIDDEN, VISIBLE = 0.12, 0.5  # share of a defect that shows: below, the label is normal; above, the defect
THREADS = 2  # sums differ in the last bit between thread counts


def draw(seed_index: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, int]:
    """Generate one picture in a worker process."""
    cv2.setNumThreads(1)
    return picture(*seed_index)


def make_set(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Generate a set of pictures.

    Returns:
        images: N x 3 x SIZE x SIZE, uint8, RGB.
        masks: N x 1 x SIZE x SIZE, bool, true on the defect.
        labels: N, int64.
    """
    with Pool(THREADS) as pool:
        images, masks, labels = zip(*pool.map(draw, [(seed, i) for i in range(count)], 16), strict=True)
    images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return images, torch.from_numpy(np.stack(masks))[:, None], torch.tensor(labels)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """Map pictures (N x 3 x H x W, 0..255) to the network's input."""
    shape = (1, 3, 1, 1)
    images = (images / 255 - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape)
    return images.contiguous(memory_format=torch.channels_last)


# Augmentation


def smooth_masks(count: int, rng: torch.Generator) -> torch.Tensor:
    """Random masks like upsampled feature maps: N x 1 x SIZE x SIZE, each from 0 to 1."""
    masks = torch.empty(count, 1, SIZE, SIZE)
    cells = torch.tensor((5, 10, 20, 40, 80))[torch.randint(5, (count,), generator=rng)]
    for cell in cells.unique().tolist():
        chosen = cells == cell
        noise = torch.randn(int(chosen.sum()), 1, cell, cell, generator=rng)
        floor = torch.empty(len(noise), 1, 1, 1).uniform_(-2, 1.5, generator=rng)
        masks[chosen] = F.interpolate(F.relu(noise - floor), size=SIZE, mode="bilinear")
    masks -= masks.amin((2, 3), keepdim=True)
    return masks / masks.amax((2, 3), keepdim=True).clamp(min=1e-6)


def neighbourhood(defects: torch.Tensor, cells: int) -> torch.Tensor:
    """Blobs (N x 1 x SIZE x SIZE, 0..1) that cover the defects but do not trace their outline."""
    coarse = F.adaptive_max_pool2d(defects, cells)
    return F.interpolate(F.max_pool2d(coarse, 3, stride=1, padding=1), size=SIZE, mode="bilinear")


def augment(
    images: torch.Tensor, defects: torch.Tensor, labels: torch.Tensor, rng: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Flip, relight and partly hide a batch.

    Args:
        images: N x 3 x SIZE x SIZE, uint8.
        defects: N x 1 x SIZE x SIZE, bool.
        labels: N, int64.
        rng: Random stream.

    Returns:
        inputs: Normalised and masked pictures, N x 3 x SIZE x SIZE.
        targets: Class probabilities, N x 5: the defect's share grows with its visibility.
    """
    count = len(images)
    images, defects = images.float(), defects.float()
    turns = torch.randint(4, (count,), generator=rng)
    mirrored = torch.rand(count, generator=rng) < 0.5
    for turn in range(4):
        chosen = turns == turn
        images[chosen] = torch.rot90(images[chosen], turn, (2, 3))
        defects[chosen] = torch.rot90(defects[chosen], turn, (2, 3))
    images[mirrored] = images[mirrored].flip(3)
    defects[mirrored] = defects[mirrored].flip(3)
    brightness = torch.empty(count, 1, 1, 1).uniform_(0.85, 1.15, generator=rng)
    channels = torch.empty(count, 3, 1, 1).uniform_(0.95, 1.05, generator=rng)
    inputs = normalise((images * brightness * channels).clamp(0, 255))

    masks = smooth_masks(count, rng)
    near = neighbourhood(defects, 10 if torch.rand(1, generator=rng) < 0.5 else 20)
    near = torch.where((labels == NORMAL).view(-1, 1, 1, 1), near.roll(1, 0), near)
    kind = torch.rand(count, generator=rng).view(-1, 1, 1, 1)
    weak = torch.rand(count, 1, 1, 1, generator=rng)
    masks = torch.where(kind < 0.72, masks * (1 - near), masks)  # 0.65..0.72: the defect hidden
    masks = torch.where(kind < 0.65, 1 - near, masks)  # 0.59..0.65: nothing else hidden
    masks = torch.where(kind < 0.59, torch.maximum(masks * weak, near), masks)  # 0.52..0.59: it shows
    masks = torch.where(kind < 0.52, torch.ones_like(masks), masks)  # 0..0.52: the whole picture
    seen = (masks * defects).sum((1, 2, 3)) / defects.sum((1, 2, 3)).clamp(min=1)
    share = ((seen - HIDDEN) / (VISIBLE - HIDDEN)).clamp(0, 1)[:, None]
    targets = share * F.one_hot(labels, len(CLASSES))
    targets[:, NORMAL] += 1 - targets.sum(1)
    return inputs * masks, targets


# Training and figures


def batches(count: int, size: int, rng: torch.Generator) -> Iterator[torch.Tensor]:
    """Shuffled indices in full batches."""
    order = torch.randperm(count, generator=rng)
    return (order[i : i + size] for i in range(0, count - size + 1, size))


def train(args: argparse.Namespace) -> SurfaceNet:
    """Train a network from scratch."""
    images, defects, labels = make_set(args.seed, args.train_images)
    print(f"{len(labels)} training images", flush=True)
    torch.manual_seed(args.seed)
    rng = torch.Generator().manual_seed(args.seed)
    model = SurfaceNet(len(CLASSES)).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.02)
    steps = args.epochs * (len(labels) // args.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, args.rate, total_steps=max(steps, 1))
    for epoch in range(args.epochs):
        losses = []
        for chosen in batches(len(labels), args.batch, rng):
            inputs, targets = augment(images[chosen], defects[chosen], labels[chosen], rng)
            loss = F.cross_entropy(model(inputs), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}/{args.epochs}: loss {np.mean(losses):.4f}", flush=True)
    return model.eval()


@torch.no_grad()
def evaluate(model: SurfaceNet, seed: int, count: int) -> dict:
    """Accuracy on fresh pictures, and how the confidence follows the visibility of the defect.

    Returns:
        accuracy: Share of right answers, 0..1.
        per_class: The same for each class.
        confidence: Mean probability of the defect's class (0..1) on whole pictures of defects, with the
            defect hidden (`without`) and with everything else hidden (`alone`).
    """
    images, defects, labels = make_set(seed, count)
    right, confidence = [], {"whole": [], "without": [], "alone": []}
    for part in torch.arange(count).split(100):
        inputs, near = normalise(images[part]), neighbourhood(defects[part].float(), 20)
        right.append(model(inputs).argmax(1) == labels[part])
        faulty = labels[part] != NORMAL
        for name, mask in (("whole", torch.ones(1)), ("without", 1 - near), ("alone", near)):
            probabilities = model(inputs * mask).softmax(1).gather(1, labels[part][:, None])
            confidence[name].append(probabilities[faulty])
    right = torch.cat(right)
    return {
        "accuracy": round(right.float().mean().item(), 4),
        "per_class": {c: round(right[labels == i].float().mean().item(), 4) for i, c in enumerate(CLASSES)},
        "confidence": {k: round(torch.cat(v).mean().item(), 4) for k, v in confidence.items()},
    }


def main() -> None:
    """Train, measure, and write the state dict and the figures beside it."""
    parser = argparse.ArgumentParser(description="Train the surface inspection demo network.")
    parser.add_argument("-o", "--output", type=Path, required=True, help="state dict to write, .pth")
    parser.add_argument("--seed", type=int, default=0, help="of the pictures, weights and augmentation")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--rate", type=float, default=4e-3, help="peak learning rate")
    parser.add_argument("--train-images", type=int, default=6000)
    parser.add_argument("--test-images", type=int, default=1500, help="drawn from seed + 1")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    start = time.monotonic()
    model = train(args)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(weights[name].numpy().tobytes())
    figures = {
        "classes": CLASSES,
        "mean": MEAN,
        "std": STD,
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_images": args.train_images,
        "epochs": args.epochs,
        "seed": args.seed,
        "train_seconds": round(time.monotonic() - start),
        "torch": torch.__version__,
        "weights_sha256": digest.hexdigest(),
        "test_images": args.test_images,
        "test_seed": args.seed + 1,
        **evaluate(model, args.seed + 1, args.test_images),
    }
    torch.save(weights, args.output)
    args.output.with_suffix(".json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
