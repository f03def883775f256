"""Gradients on plain ONNX Runtime: a saliency map, and a picture changed until the class changes.

    python examples/adversarial.py model.onnx picture.jpg

The model is any image classifier of layout NCHW. `sise_rt.export.gradients.vjp` adds the gradient to it; what
runs afterwards is ONNX Runtime alone. Preprocessing is not part of an ONNX file: `preprocess` below is the
usual one of ImageNet models, put your own there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image
from sise_rt.export.gradients import vjp

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
STEPS = (1, 2, 4, 8, 16, 32, 64)  # of 255 levels


def preprocess(pixels: np.ndarray) -> np.ndarray:
    """Pixels (H, W, 3) uint8 to the model's input (1, 3, H, W)."""
    scaled = (pixels.astype(np.float32) / 255 - MEAN) / STD
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


class Classifier:
    """A classifier that also gives the gradient of its margin: the winning score less the runner-up's.

    Args:
        path: the ONNX file.
        output: the tensor of scores (1, classes); None takes the model's first output. Of a model that ends
            in a softmax, name the logits before it: where it is sure, the softmax is flat.
        size: (height, width), for a model that leaves them free.
    """

    def __init__(self, path: Path, output: str | None = None, size: tuple[int, int] | None = None):
        model = onnx.load(path)
        weights = {weight.name for weight in model.graph.initializer}
        image = next(value for value in model.graph.input if value.name not in weights)
        dims = image.type.tensor_type.shape.dim
        for dim, extent in zip(dims[2:], size or (), strict=False):
            dim.dim_value = extent
        self.size = dims[2].dim_value, dims[3].dim_value
        if not all(self.size):
            raise SystemExit(f"{path} leaves the size of its input free: say it with --size HEIGHT WIDTH")
        self.output = output or model.graph.output[0].name
        made = vjp(model, self.output, [image.name])
        self.image, self.cotangent = image.name, made.graph.input[-1].name
        self.gradient = made.graph.output[-1].name
        if self.output not in [value.name for value in made.graph.output]:
            made.graph.output.append(onnx.ValueInfoProto(name=self.output))
        self.session = onnxruntime.InferenceSession(
            made.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        self.classes = made.graph.input[-1].type.tensor_type.shape.dim[-1].dim_value

    def scores(self, images: np.ndarray) -> np.ndarray:
        """Scores (classes,) of images (1, 3, H, W)."""
        nothing = np.zeros((1, self.classes), np.float32)
        return self.session.run([self.output], {self.image: images, self.cotangent: nothing})[0][0]

    def margin_gradient(self, images: np.ndarray, winner: int, second: int) -> np.ndarray:
        """The gradient of score[winner] - score[second], shaped like the images (1, 3, H, W)."""
        cotangent = np.zeros((1, self.classes), np.float32)
        cotangent[0, [winner, second]] = 1, -1
        return self.session.run([self.gradient], {self.image: images, self.cotangent: cotangent})[0]


def saliency(gradient: np.ndarray) -> np.ndarray:
    """The largest magnitude over the channels (Simonyan et al. 2014), (H, W) from 0 to 1."""
    largest = np.abs(gradient[0]).max(axis=0)
    return largest / largest.max(initial=np.finfo(np.float32).tiny)


def perturbed(pixels: np.ndarray, gradient: np.ndarray, step: int) -> np.ndarray:
    """Every pixel moved `step` levels against the gradient: the fast gradient sign (Goodfellow et al. 2015).

    STD is positive, so the gradient's sign in the model's input is its sign in pixels.
    """
    moved = pixels - step * np.sign(gradient[0]).transpose(1, 2, 0)
    return np.clip(moved, 0, 255).astype(np.uint8)


def main() -> None:
    """Explain, then fool, MODEL on IMAGE."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--output", help="tensor of the scores; default: the model's first output")
    parser.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("-o", "--out", type=Path, default=Path("adversarial"), help="folder of the results")
    given = parser.parse_args()
    classifier = Classifier(given.model, given.output, given.size)
    height, width = classifier.size
    pixels = np.asarray(Image.open(given.image).convert("RGB").resize((width, height)))

    images = preprocess(pixels)
    scores = classifier.scores(images)
    winner, second = (int(index) for index in np.argsort(-scores)[:2])
    gradient = classifier.margin_gradient(images, winner, second)
    given.out.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * saliency(gradient)).astype(np.uint8)).save(given.out / "saliency.png")
    print(f"class {winner}, ahead of class {second} by {scores[winner] - scores[second]:.4g}")

    for step in STEPS:
        changed = perturbed(pixels, gradient, step)
        moved = preprocess(changed)
        found = classifier.scores(moved)
        predicted = float((gradient * (moved - images)).sum())
        actual = (found[winner] - found[second]) - (scores[winner] - scores[second])
        print(f"{step:2} of 255 levels: margin {actual:+.4g}, by the gradient {predicted:+.4g}")
        if found.argmax() != winner:
            Image.fromarray(changed).save(given.out / "adversarial.png")
            print(f"class {found.argmax()}: {given.out / 'adversarial.png'}")
            return
    print("the class stays the same; if the scores are those of a softmax, name the logits with --output")


if __name__ == "__main__":
    main()
