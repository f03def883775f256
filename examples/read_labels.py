"""Train on what `sise-rt augment` wrote, with NumPy and OpenCV alone.

Run it as `python examples/read_labels.py OUT`, of an augmentation that is done.
"""

import csv
import sys
from pathlib import Path

import cv2
import numpy as np

SIDE, STEPS, RATE = 16, 200, 0.5


def read(out: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pictures (N, 3 * SIDE * SIDE), soft labels (N, classes), weights (N,) and kinds (N,)."""
    with open(out / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    pictures = [cv2.resize(cv2.imread(str(out / row["path"])), (SIDE, SIDE)).ravel() for row in rows]
    labels = np.array([row["soft_label"].split() for row in rows], float)
    weights = np.array([float(row["weight"]) for row in rows])
    return np.stack(pictures) / 255 - 0.5, labels, weights, np.array([row["kind"] for row in rows])


def main(out: Path) -> None:
    """Train by gradient descent; print the mean loss of each kind of picture, before and after."""
    pictures, labels, weights, kinds = read(out)
    matrix = np.zeros((pictures.shape[1], labels.shape[1]))
    for step in range(STEPS + 1):
        scores = pictures @ matrix
        log = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        losses = -(labels * log).sum(axis=1)
        if step in (0, STEPS):
            print(step, *(f"{kind} {losses[kinds == kind].mean():.3f}" for kind in np.unique(kinds)))
        matrix -= RATE / len(labels) * pictures.T @ (weights[:, None] * (np.exp(log) - labels))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
