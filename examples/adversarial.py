"""Gradients on plain ONNX Runtime: a saliency map, and a picture changed until the class changes.

    python examples/adversarial.py model.onnx picture.jpg --mean 0,0,0 --std 1,1,1

`sise_rt.export.gradients.vjp` adds the gradient to the model; what runs afterwards is ONNX Runtime alone. The
model has one float input of RGB or grey pictures, channels first or last; pictures are resized to it. What is
not said of preprocessing is ImageNet's. Of a model that ends in a softmax, name the logits before it.
"""

from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime
from onnx.helper import tensor_dtype_to_np_dtype
from PIL import Image
from sise_rt.export.gradients.reverse import vjp

MEAN, STD, CPU = "0.485,0.456,0.406", "0.229,0.224,0.225", ["CPUExecutionProvider"]


class Classifier:
    """A classifier that also gives gradients; a pixel p of its picture becomes (p / scale - mean) / std."""

    def __init__(self, path, output=None, size=None, mean=MEAN, std=STD, scale=255.0):
        model = onnx.load(path)
        weights = [weight.name for weight in model.graph.initializer]
        inputs = [value for value in model.graph.input if value.name not in weights]
        dims = inputs[0].type.tensor_type.shape.dim if len(inputs) == 1 else ()
        if len(dims) != 4 or dims[0].dim_value > 1:
            raise ValueError("the model must have one input, of one picture or of any number of them")
        self.last = dims[3].dim_value in (1, 3) and dims[1].dim_value not in (1, 3)
        axes = (1, 2, 3) if self.last else (2, 3, 1)
        for axis, extent in zip(axes, size or (), strict=False):
            dims[axis].dim_value = dims[axis].dim_value or extent
        self.shape = tuple(dims[axis].dim_value for axis in axes)
        if not all(self.shape[:2]) or self.shape[:2] != tuple(size or self.shape[:2]):
            raise ValueError(f"the input is {self.shape[:2]} (0: free): give --size HEIGHT WIDTH that fits")
        self.mean, self.std = (np.array(text.split(","), float) for text in (mean, std))
        self.scale, channels = scale, self.shape[2]
        if channels not in (1, 3) or not len(self.mean) == len(self.std) == channels or not min(self.std) > 0:
            raise ValueError(
                f"{channels} channels, where 1 or 3 are supported, a mean and a std > 0 for each"
            )
        self.image, self.output = inputs[0].name, output or model.graph.output[0].name
        made = vjp(model, self.output, [self.image])
        self.seed, self.gradient = made.graph.input[-1].name, made.graph.output[-1].name
        kind = made.graph.input[-1].type.tensor_type
        if len(kind.shape.dim) != 2 or kind.shape.dim[1].dim_value < 2:
            raise ValueError(f"{self.output!r} is not (N, classes): name the scores with --output")
        self.dtype = tensor_dtype_to_np_dtype(inputs[0].type.tensor_type.elem_type)
        self.nothing = np.zeros((1, kind.shape.dim[1].dim_value), tensor_dtype_to_np_dtype(kind.elem_type))
        if self.output not in [value.name for value in made.graph.output]:
            made.graph.output.append(onnx.ValueInfoProto(name=self.output))
        onnxruntime.set_default_logger_severity(4)  # its errors are raised; its warnings are about speed
        self.session = onnxruntime.InferenceSession(made.SerializeToString(), providers=CPU)

    def preprocess(self, pixels):
        """Pixels (H, W, C) to the model's input, of its layout and type."""
        images = ((pixels / self.scale - self.mean) / self.std)[None]
        return np.ascontiguousarray(images if self.last else images.transpose(0, 3, 1, 2), self.dtype)

    def run(self, images, winner=0, second=0):
        """Scores (classes,), and the gradient of score[winner] - score[second], shaped like `images`."""
        seed = self.nothing.copy()
        seed[0, winner] += 1
        seed[0, second] -= 1
        found = self.session.run([self.output, self.gradient], {self.image: images, self.seed: seed})
        scores, gradient = (values.astype(np.float32) for values in found)
        if not (np.isfinite(scores).all() and np.isfinite(gradient).all()):
            raise ValueError("the scores or their gradient are not finite for this picture")
        return scores[0], gradient


def fool(classifier, picture, out):
    """Write a saliency map, then move pixels against the gradient until the class changes."""
    image = Image.open(picture).convert("L" if classifier.shape[2] == 1 else "RGB")
    pixels = np.asarray(image.resize(classifier.shape[1::-1])).reshape(classifier.shape)
    images = classifier.preprocess(pixels)
    winner, second = np.argsort(-classifier.run(images)[0])[:2]
    scores, gradient = classifier.run(images, winner, second)
    slope = gradient[0] if classifier.last else gradient[0].transpose(1, 2, 0)
    saliency = np.abs(slope).max(axis=2)  # over the channels (Simonyan et al. 2014)
    saliency *= 255 / max(saliency.max(), 1e-30)
    out.mkdir(parents=True, exist_ok=True)
    Image.fromarray(saliency.astype(np.uint8)).save(out / "saliency.png")
    print(f"class {winner}, ahead of class {second} by {scores[winner] - scores[second]:.4g}")
    for step in (1, 2, 4, 8, 16, 32, 64):  # the fast gradient sign (Goodfellow et al. 2015)
        changed = np.clip(pixels - step * np.sign(slope), 0, 255).astype(np.uint8)
        found, _ = classifier.run(moved := classifier.preprocess(changed))
        predicted = (gradient * (moved - images)).sum(dtype=np.float64)
        actual = found[winner] - found[second] - scores[winner] + scores[second]
        print(f"{step:2} of 255 levels: margin {actual:+.4g}, by the gradient {predicted:+.4g}")
        if found.argmax() != winner:
            Image.fromarray(changed.squeeze()).save(out / "adversarial.png")
            return print(f"class {found.argmax()}: {out / 'adversarial.png'}")
    print("the class stays the same; if the scores are those of a softmax, name the logits with --output")


@click.command()
@click.argument("model")
@click.argument("picture")
@click.option("--output", help="Tensor of the scores; by default the model's first output.")
@click.option("--size", type=click.IntRange(1), nargs=2, metavar="HEIGHT WIDTH")
@click.option("--mean", default=MEAN, show_default=True, help="A number a channel, after --scale.")
@click.option("--std", default=STD, show_default=True)
@click.option("--scale", default=255.0, show_default=True, help="Pixels are divided by it.")
@click.option("-o", "--out", type=click.Path(path_type=Path), default=Path("adversarial"), help="Folder.")
def main(model, picture, out, **options):
    """Explain, then fool, MODEL on PICTURE."""
    try:
        fool(Classifier(model, **options), picture, out)
    except Exception as error:  # of four libraries: what they refuse is one line for the user
        raise click.ClickException(" ".join(f"{error}".split())) from error


if __name__ == "__main__":
    main()
