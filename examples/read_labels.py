"""Train on what `sise-rt augment` wrote, with NumPy and OpenCV alone: a linear softmax over small pictures.

    python examples/read_labels.py OUT

It is no good network. It shows all that a training has to do with labels.csv: a soft label for each picture,
a weight, and a cross-entropy that takes both.
"""

import csv
import sys
from pathlib import Path

import cv2
import numpy as np

SIDE, STEPS, RATE = 16, 200, 0.5


def read(out: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, str]]]:
    """Pictures (N, 3 * SIDE * SIDE) in [-0.5, 0.5], soft labels (N, classes), weights (N,), and the rows."""
    with open(out / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    pictures = [cv2.resize(cv2.imread(str(out / row["path"])), (SIDE, SIDE)).ravel() for row in rows]
    labels = [np.array(row["soft_label"].split(), float) for row in rows]
    weights = np.array([float(row["weight"]) for row in rows])
    return np.stack(pictures) / 255 - 0.5, np.stack(labels), weights, rows


def main(out: Path) -> None:
    """Train by gradient descent, and print the loss for each kind of picture, before and after."""
    pictures, labels, weights, rows = read(out)
    kinds = np.array([row["kind"] for row in rows])
    matrix = np.zeros((pictures.shape[1], labels.shape[1]))
    for step in range(STEPS + 1):
        scores = pictures @ matrix
        log = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        losses = -(labels * log).sum(axis=1)
        if step in (0, STEPS):
            print(step, *(f"{kind} {losses[kinds == kind].mean():.3f}" for kind in np.unique(kinds)))
        slope = weights[:, None] * (np.exp(log) - labels)
        matrix -= RATE / len(rows) * pictures.T @ slope


if __name__ == "__main__":
    main(Path(sys.argv[1]))
