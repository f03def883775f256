"""Logits, feature maps, gradient scores and selections against torch autograd, on real photos.

    python -m benchmarks.parity --photos 10

A unit whose input rounds to the other side of a ReLU's kink changes the gradient, and float32 does that in
torch as well. Hence three comparisons, all relative to the largest value:

- the runtime against torch in float32 and in float64;
- torch in float32 against torch in float64: what float32 costs anyone;
- the runtime against torch in float64, where units within 1e-5 of a kink take the runtime's side of it. Both
  sides are valid subgradients there; printed is how many units differ, and how many differ farther away.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
import torch

import sise_rt
from benchmarks.material import photos
from benchmarks.reference import Network, exported, features, log_odds, resnet, selected
from sise_rt.phases.features import Features, extract
from sise_rt.running.consistency import relative_error

NEAR = 1e-5  # of the layer's largest input: such a unit may fall on either side


class Relu(torch.nn.Module):
    """Stands in for all of a model's ReLUs: near the kink it does as it is told, in the order of the calls.

    Attributes:
        gates: bool arrays, one a call; set before every pass.
        near: how many units took another side than their own, within `NEAR` of the kink.
        far: how many units are on another side, and farther from it; these keep their own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gates: list[np.ndarray] = []
        self.near = self.far = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Relu(x), but for units at the kink."""
        gate = torch.from_numpy(self.gates.pop(0))
        differ, at_kink = gate != (x > 0), x.abs() <= NEAR * x.abs().max()
        self.near += int((differ & at_kink).sum())
        self.far += int((differ & ~at_kink).sum())
        return x * torch.where(at_kink, gate, x > 0)


def with_gates(network: Network) -> Relu:
    """Replace the ReLUs of a torch model, all by the same one."""
    relu = Relu()
    for module in list(network.model.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.ReLU):
                for hook in child._forward_hooks.values():  # of the block whose output it is
                    relu.register_forward_hook(hook)
                setattr(module, name, relu)
    return relu


def relu_outputs(explainer: sise_rt.Explainer, tensor: np.ndarray, target: int) -> list[np.ndarray]:
    """Which units are on in the runtime's own forward pass: where its Relu nodes, in order, are above 0."""
    folder, graph = explainer.engine.folder, explainer.manifest.graphs.features
    model = onnx.load(folder / graph, load_external_data=False)
    names = [node.output[0] for node in model.graph.node if node.op_type == "Relu"]
    present = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = explainer.engine.threads
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(folder.resolve())
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    inputs = {"images": tensor, "targets": np.array([target])}
    return [values > 0 for values in session.run(names, inputs)]


Numbers = tuple[np.ndarray, Sequence[np.ndarray], Sequence[np.ndarray]]
"""Logits (classes,), and of each block the feature maps (K, h, w) and the gradient scores (K,)."""


def of_runtime(features: Features) -> Numbers:
    """What the runtime has for the first target."""
    return features.logits, features.maps, [alpha[0] for alpha in features.alphas]


def of_torch(network: Network, tensor: np.ndarray, target: int, dtype: torch.dtype) -> Numbers:
    """What torch's autograd has for an image (1, C, H, W)."""
    image = torch.from_numpy(tensor).to(dtype)
    logits, maps, alphas = features(network, image, lambda z: log_odds(z, target, "softmax"))
    return logits.numpy(), [a.numpy() for a in maps], [alpha.numpy() for alpha in alphas]


def errors(numbers: Numbers, reference: Numbers) -> list[float]:
    """Relative errors of the logits, of the worst block's maps, and of the worst block's gradient scores."""
    return [
        relative_error(numbers[0], reference[0]),
        *(max(map(relative_error, numbers[i], reference[i])) for i in (1, 2)),
    ]


def flips(numbers: Numbers, reference: Numbers, mu: float) -> tuple[int, float]:
    """How many maps only one of both keeps, and how far from the threshold, relative to the largest alpha."""
    count, farthest = 0, 0.0
    for a, b in zip(numbers[2], reference[2], strict=True):
        differ = selected(a, mu) != selected(b, mu)
        count += int(differ.sum())
        farthest = max(farthest, float(np.max(np.abs(b[differ] / b.max() - mu), initial=0.0)))
    return count, farthest


PAIRS = ("runtime - torch32", "runtime - torch64", "torch32 - torch64", "runtime - same side")


def measure(name: str, count: int) -> None:
    """Print what differs on each photo, and at most."""
    single, double, gated = (resnet(name, t) for t in (torch.float32, torch.float64, torch.float64))
    relu, worst = with_gates(gated), np.zeros(15)
    print(f"\n{name}: relative errors of logits, maps, alpha; kept maps that differ (their distance)")
    with exported(name) as bundle:
        explainer = sise_rt.load(bundle)
        for photo in photos(count):
            tensor = explainer.prepare(photo).tensor
            target = int(np.argmax(extract(explainer.engine, tensor, np.zeros(1, np.int64)).logits))
            runtime = of_runtime(extract(explainer.engine, tensor, np.array([target])))
            relu.gates, relu.near, relu.far = relu_outputs(explainer, tensor, target), 0, 0
            torch32 = of_torch(single, tensor, target, torch.float32)
            torch64 = of_torch(double, tensor, target, torch.float64)
            same_side = of_torch(gated, tensor, target, torch.float64)
            print(photo.stem)
            pairs = (runtime, torch32), (runtime, torch64), (torch32, torch64), (runtime, same_side)
            row: list[float] = []
            for what, pair in zip(PAIRS, pairs, strict=True):
                differences, (differ, distance) = errors(*pair), flips(*pair, mu=0.0)
                row += differences
                print(f"  {what:20}", *(f"{e:.1e}" for e in differences), f" {differ:3d} ({distance:.1e})")
            print(f"  units on the other side: {relu.near} near their kink, {relu.far} farther", flush=True)
            worst = np.maximum(worst, [*row, flips(runtime, same_side, mu=0.0)[1], relu.near, relu.far])
    print(f"{name}, worst of {count} photos:")
    for i, what in enumerate(PAIRS):
        print(f"  {what:20}", *(f"{e:.1e}" for e in worst[3 * i : 3 * i + 3]))
    print(f"  kept maps that differ from the same side's: at most {worst[12]:.1e} from the threshold")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=10)
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    options = parser.parse_args(arguments)
    for name in options.models:
        measure(name, options.photos)


if __name__ == "__main__":
    main()
