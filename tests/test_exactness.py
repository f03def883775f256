"""SISE as a whole against independent references: torch autograd, and full-size masks in float64.

The references are those of `benchmarks.parity` and `benchmarks.exactness`, which measure more pictures.
"""

import numpy as np
import onnx
import pytest

import sise_rt
from sise_rt.phases.features import extract
from sise_rt.running.consistency import relative_error

pytest.importorskip("torch")
import torch

from benchmarks import parity, reference
from benchmarks.material import onnx_file


@pytest.fixture(scope="module")
def explainer(small_bundle) -> sise_rt.Explainer:
    return sise_rt.load(small_bundle, "cpu")


@pytest.fixture(scope="module")
def resnet18(material, torchvision, tmp_path_factory):
    """A bundle of the material's ResNet-18."""
    from sise_rt.export import export

    folder = tmp_path_factory.mktemp("resnet18")
    source = onnx_file("resnet18", folder)
    return export(source, folder / "resnet18.sise", activation="softmax", input_size=(224, 224)).path


@pytest.fixture(scope="module")
def small_network(small_model):
    """The small network in torch, in float64: images to logits and the three block outputs."""
    functional = torch.nn.functional
    weights = {
        tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()).double()
        for tensor in onnx.load(small_model).graph.initializer
    }

    def conv(x, name, stride=1):
        kernel = weights[f"{name}.weight"]
        return functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[2] // 2)

    def norm(x, name):
        scale, bias, mean, var = (weights[f"{name}.{key}"] for key in ("scale", "bias", "mean", "var"))
        return functional.batch_norm(x, mean, var, scale, bias, eps=1e-5)

    def network(images):
        x = torch.relu(norm(conv(images, "stem.conv"), "stem.norm"))
        outputs = [x]
        x = functional.max_pool2d(x, 3, 2, 1)
        for name, stride in (("a", 1), ("b", 2)):
            y = torch.relu(norm(conv(x, f"{name}.conv1", stride), f"{name}.norm1"))
            y = norm(conv(y, f"{name}.conv2"), f"{name}.norm2")
            x = torch.relu(y + conv(x, f"{name}.shortcut", stride))
            outputs.append(x)
        return x.mean((2, 3)) @ weights["head.weight"].T + weights["head.bias"], outputs

    return network


@pytest.mark.parametrize("target", range(5))
def test_the_small_network_against_autograd(explainer, small_network, target):
    image = np.random.default_rng(9).standard_normal((1, 3, 32, 32)).astype(np.float32)
    features = extract(explainer.engine, image, np.array([target]))
    x = torch.from_numpy(image).double().requires_grad_()
    logits, maps = small_network(x)
    probability = logits.softmax(1)[0, target]
    gradients = torch.autograd.grad(probability, maps)
    assert relative_error(features.logits, logits[0].detach().numpy()) < 1e-5
    slope = (probability * (1 - probability)).item()  # from the probability (eq. 6) to its log-odds
    for a, alpha, expected, gradient in zip(features.maps, features.alphas, maps, gradients, strict=True):
        assert relative_error(a, expected[0].detach().numpy()) < 1e-5
        assert relative_error(alpha[0], gradient[0].mean((1, 2)).numpy() / slope) < 1e-4


def test_resnet18_against_autograd_on_photos(resnet18, material):
    """Must hold to 1e-4 where units at a ReLU's kink take the runtime's side of it; see the benchmark."""
    network = parity.resnet("resnet18", torch.float64)
    relu = parity.with_gates(network)
    explainer = sise_rt.load(resnet18, "cpu")
    for photo in ("dog_and_cat.png", "eagle.jpg"):
        tensor = explainer.prepare(material / "images/photos" / photo).tensor
        target = int(np.argmax(extract(explainer.engine, tensor, np.zeros(1, np.int64)).logits))
        runtime = parity.of_runtime(extract(explainer.engine, tensor, np.array([target])))
        relu.gates = parity.relu_outputs(explainer, tensor, target)
        autograd = parity.of_torch(network, tensor, target, torch.float64)
        assert max(parity.errors(runtime, autograd)) < 1e-4
        assert parity.flips(runtime, autograd, 0.0)[1] < 1e-4
        assert relu.far == 0
        assert relu.near < 100


def compare(network, picture, explanation, target: int, mu: float) -> None:
    """Hold an explanation against float64 and full-size masks; the tolerances are those of the project."""
    image = torch.from_numpy(picture.tensor).double()
    _, maps, alphas = reference.features(
        network, image, lambda z: reference.confidence(z, "softmax")[:, target]
    )
    expected = []
    for a, alpha, block in zip(maps, alphas, explanation.blocks, strict=True):
        kept = reference.selected(alpha.numpy(), mu)
        (v,) = reference.visualizations(network, image, a, target, "softmax", [kept])
        expected.append(reference.norm01(v))
        assert block.kept == kept.sum()
        assert np.abs(block.visualization - expected[-1]).max() < 1e-4
    fused = reference.fused(expected)
    decided = ~reference.undecided(expected, fused.thresholds)
    assert decided.mean() > 0.9
    assert np.abs(explanation.raw - fused.raw)[decided].max() < 1e-3
    assert np.abs(explanation.map - reference.norm01(fused.raw))[decided].max() < 1e-3


@pytest.mark.parametrize("target", range(5))
@pytest.mark.parametrize("mu", [0.0, 0.4])
def test_the_small_network_against_the_equations(explainer, small_network, target, mu):
    picture = explainer.prepare(np.random.default_rng(2).integers(0, 256, (48, 40, 3), dtype=np.uint8))
    explanation = explainer.explain(picture, target, mu=mu, batch_size=3)
    compare(small_network, picture, explanation, target, mu)


def test_resnet18_against_the_equations_on_a_photo(resnet18, material):
    explainer = sise_rt.load(resnet18, "cpu")
    photo = explainer.prepare(material / "images/photos/dog_and_cat.png")
    explanation = explainer.explain(photo, mu=0.8, batch_size=4)
    network = reference.resnet("resnet18", torch.float64)
    compare(network, photo, explanation, explanation.target, 0.8)
