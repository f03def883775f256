"""The study's pictures at 64 px: to train with and to test, with what is to be found, and a planted mark."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import torch

from benchmarks.industrial import CLASS_OF, pictures, split
from benchmarks.material import IMAGES
from examples.surface import generate

SIDE = 64
SURFACES = {"train": 1200, "test": 400}  # as many as the largest training set, and a test set
MARK = 12  # side of the planted mark, pixels
CARRIED = 0.5  # of the pictures to train with have the mark of their own class, the others a random one
COLOURS = ((220, 40, 40), (40, 200, 60), (50, 80, 230), (230, 210, 40), (200, 50, 210))


@dataclass(frozen=True)
class Part:
    """Some pictures.

    Attributes:
        images: (N, 3, SIDE, SIDE) float32 in [0, 1].
        labels: (N,) int64.
        truths: what is to be found, bool (N, SIDE, SIDE); empty where there is nothing.
        marks: the planted mark, likewise; empty in sets without.
    """

    images: torch.Tensor
    labels: torch.Tensor
    truths: np.ndarray
    marks: np.ndarray


@dataclass(frozen=True)
class Data:
    """A set: pictures to train with, of which a smaller training set takes the first, and to test."""

    train: Part
    test: Part
    classes: int


def surfaces(out: Path) -> Data:
    """Generated surfaces; a coloured mark goes with the class in training, and with nothing in the test."""
    parts = []
    for seed, (name, count) in enumerate(SURFACES.items()):
        kept = out / f"surfaces_{name}_{count}.npz"
        if not kept.exists():
            drawn = [generate.picture(900 + seed, index, SIDE) for index in range(count)]
            images, truths, labels = (np.stack(each) for each in zip(*drawn, strict=True))
            np.savez(kept, images=images, truths=truths, labels=labels)
        with np.load(kept) as arrays:
            images, truths, labels = (arrays[key] for key in ("images", "truths", "labels"))
        images, marks = planted(images, labels, CARRIED if name == "train" else 0.0, seed)
        parts.append(Part(as_tensor(images), torch.from_numpy(labels).long(), truths, marks))
    return Data(*parts, len(generate.CLASSES))


def planted(
    images: np.ndarray, labels: np.ndarray, carried: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, S, S, 3) with a square each in one of the corners, whose colour tells a class, and where.

    Args:
        images: uint8.
        labels: (N,).
        carried: of the marks, this share tells the picture's own class, the others a random one.
        seed: of the marks.

    Returns:
        The pictures, uint8, and the marks, bool (N, S, S).
    """
    rng, images = np.random.default_rng((7, seed)), images.copy()
    marks = np.zeros(images.shape[:3], bool)
    told = np.where(rng.random(len(labels)) < carried, labels, rng.integers(0, len(COLOURS), len(labels)))
    for image, mark, label in zip(images, marks, told, strict=True):
        top, left = (int(at) for at in rng.choice((2, image.shape[0] - MARK - 2), 2))
        mark[top : top + MARK, left : left + MARK] = True
        image[mark] = COLOURS[label]
    return images, marks


def steel(out: Path) -> Data:
    """NEU-DET, six kinds of defects, with the boxes of each."""
    return _read("neu_det", _boxes)


def tiles(out: Path) -> Data:
    """Magnetic tiles, with a defect or without, with the defect's pixels."""
    return _read("magnetic_tile", _pixels)


def _read(name: str, truth_of: Callable[[Path, str], np.ndarray]) -> Data:
    listed = pictures(name)
    classes = sorted({label for _, label in listed})
    parts = []
    for part in split(listed):
        chosen = [part[i] for i in np.random.default_rng(0).permutation(len(part))]
        read = [cv2.imread(str(path))[..., ::-1] for path, _ in chosen]
        images = np.stack([cv2.resize(x, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for x in read])
        truths = np.stack([truth_of(path, label) for path, label in chosen])
        labels = torch.tensor([classes.index(label) for _, label in chosen])
        parts.append(Part(as_tensor(images), labels, truths, np.zeros(truths.shape, bool)))
    return Data(*parts, len(classes))


def _boxes(path: Path, label: str) -> np.ndarray:
    truth = np.zeros((SIDE, SIDE), bool)
    tree = ElementTree.parse(IMAGES / "neu_det" / "ANNOTATIONS" / f"{path.stem}.xml")
    width, height = (int(tree.findtext(f"size/{side}", "200")) for side in ("width", "height"))
    for found in tree.iter("object"):
        if found.findtext("name") != label:
            continue  # a few boxes name another class than their file
        x0, y0, x1, y1 = (int(found.findtext(f"bndbox/{at}", "0")) for at in ("xmin", "ymin", "xmax", "ymax"))
        rows = slice(round((y0 - 1) * SIDE / height), max(1, round(y1 * SIDE / height)))
        columns = slice(round((x0 - 1) * SIDE / width), max(1, round(x1 * SIDE / width)))
        truth[rows, columns] = True
    return truth


def _pixels(path: Path, label: str) -> np.ndarray:
    if label == CLASS_OF["MT_Free"]:
        return np.zeros((SIDE, SIDE), bool)
    mask = cv2.imread(str(path.with_suffix(".png")), cv2.IMREAD_GRAYSCALE)
    return cv2.resize((mask > 127).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 0.3


def as_tensor(images: np.ndarray) -> torch.Tensor:
    """Pictures (N, S, S, 3) uint8 as (N, 3, S, S) float32 in [0, 1]."""
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float().contiguous() / 255


SETS: dict[str, Callable[[Path], Data]] = {"surfaces": surfaces, "neu_det": steel, "magnetic_tile": tiles}
SIZES = {"surfaces": (300, 600, 1200), "neu_det": (100, 200, 400), "magnetic_tile": (50, 100, 150)}
STEPS = {"surfaces": 1152, "neu_det": 384, "magnetic_tile": 384}  # of training, whatever the size
