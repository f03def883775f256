"""The linked graphs against the chain of per-block files, and masked scoring against NumPy and OpenCV."""

import cv2
import numpy as np
import onnx
import pytest

from sise_rt.bundle import read_bundle
from sise_rt.graphs import block_graph, head_graph
from sise_rt.running.engine import Engine
from sise_rt.running.sessions import Sessions

rng = np.random.default_rng(4)


@pytest.fixture(scope="module")
def engine(small_bundle):
    return Engine(Sessions(small_bundle, read_bundle(small_bundle), "cpu"))


def run(engine, name, *values):
    graph = engine.sessions.open(name)
    return graph.run({tensor.name: v for tensor, v in zip(graph.spec.inputs, values, strict=True)})


def test_chain_of_files_equals_the_linked_graph(engine):
    images = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
    targets = np.array([1, 4])
    maps, alphas, logits = engine.features(images, targets)
    value = images
    names = [*map(block_graph, range(1, len(maps) + 1)), "classifier"]
    for name, expected in zip(names, [*maps, logits], strict=True):
        (value,) = run(engine, name, value)
        np.testing.assert_allclose(value, expected, 1e-5, 1e-6)
    gradient = targets
    for index, a, expected in reversed(list(zip((1, 2, 3), maps, alphas, strict=True))):
        gradient, alpha = run(engine, head_graph(index), a, gradient)
        np.testing.assert_allclose(alpha, expected, 1e-4, 1e-7)


def test_each_node_stands_once_in_the_linked_graph(small_bundle):
    for name in ("features.onnx", "score.onnx"):
        nodes = onnx.load(small_bundle / name, load_external_data=False).graph.node
        outputs = [output for node in nodes for output in node.output]
        assert len(outputs) == len(set(outputs))


def test_indices_of_poolings_are_not_computed_where_masks_are_scored(small_bundle):
    graph = onnx.load(small_bundle / "score.onnx", load_external_data=False).graph
    assert all(len(node.output) == 1 for node in graph.node if node.op_type == "MaxPool")


@pytest.mark.parametrize("size", [(7, 9), (32, 32), (1, 1)])
def test_masked_scoring(engine, size):
    image = rng.standard_normal((1, 3, 32, 32)).astype(np.float32)
    maps = rng.standard_normal((4, *size)).astype(np.float32)
    maps[3] = 2.5  # constant: known by its minimum and maximum, its score means nothing
    targets = np.array([2, 0])
    confidences, low, high, area = engine.scorer(image, targets)(maps)
    resized = np.stack([cv2.resize(m, (32, 32), interpolation=cv2.INTER_LINEAR) for m in maps])
    np.testing.assert_allclose(low, resized.min((1, 2)), 1e-5, 1e-5)
    np.testing.assert_allclose(high, resized.max((1, 2)), 1e-5, 1e-5)
    span = np.maximum(resized.max((1, 2)) - resized.min((1, 2)), 1e-30)[:, None, None]
    masks = (resized - resized.min((1, 2))[:, None, None]) / span
    if size == (1, 1):
        masks[:] = 0.0
    np.testing.assert_allclose(area[:3], masks.sum((1, 2))[:3], 1e-4, 1e-4)
    *_, z = engine.features(image * masks[:, None], np.zeros(4, np.int64))
    e = np.exp(z.astype(np.float64) - z.max(1, keepdims=True))
    np.testing.assert_allclose(confidences[:3], (e / e.sum(1, keepdims=True))[:3, targets], 1e-4, 1e-5)
    assert np.isfinite(confidences).all()
