"""Gradient-score heads against central differences of the log-odds."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from sise_rt.export.canonical.blocks import find_blocks
from sise_rt.export.canonical.form import canonical
from sise_rt.export.graphs.heads import gradient_heads
from sise_rt.export.graphs.split import cut_at_blocks
from sise_rt.export.intake.interface import interface
from sise_rt.export.ir.network import to_model

from sise_rt.errors import UnsupportedOperator


def runner(graph, network):
    model = to_model(graph, network).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda *values: session.run(None, dict(zip(graph.inputs, values, strict=True)))


def log_odds(z, target, activation):
    """Written as the logit of the probability, in float64."""
    z = z.astype(np.float64)
    e = np.exp(z - z.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True) if activation == "softmax" else 1 / (1 + np.exp(-z))
    p = p[np.arange(len(z)), target]
    return np.log(p / (1 - p))


@pytest.mark.parametrize(
    ("classes", "activation"), [(5, "softmax"), (5, "sigmoid"), (2, "softmax"), (1, "sigmoid")]
)
def test_scores_are_the_gradient_of_the_log_odds(cnn, tmp_path, specs_of, classes, activation):
    model = onnx.load(cnn(tmp_path / "m.onnx", classes=classes))
    ends = interface(model)
    network = canonical(model, tmp_path, ends, ends.image_size, activation)
    blocks = find_blocks(network)
    specs = specs_of(network, blocks)
    pieces = cut_at_blocks(network, specs)
    built = gradient_heads(network, pieces, specs)
    assert [head.name for head in built] == ["heads/01", "heads/02", "heads/03"]
    forward = [runner(piece, network) for piece in pieces]
    rng = np.random.default_rng(0)
    maps = [rng.standard_normal((2, 3, 32, 32)).astype(np.float32)]
    for piece in forward[:-1]:
        maps.append(piece(maps[-1])[0])
    targets = np.array([0, network.classes - 1])
    gradient = targets
    for b in range(len(blocks), 0, -1):
        gradient, alpha = runner(built[b - 1], network)(maps[b], gradient)
        assert gradient.shape == maps[b].shape
        np.testing.assert_allclose(alpha, gradient.mean((2, 3)), 1e-5, 1e-6)
        # The derivative along the gradient itself is its squared length.
        step = 1e-3 / np.abs(gradient).max()
        ends_of_step = []
        for sign in (1, -1):
            value = maps[b] + np.float32(sign * step) * gradient
            for piece in forward[b:]:
                (value,) = piece(value)
            ends_of_step.append(log_odds(value, targets, activation))
        found = (ends_of_step[0] - ends_of_step[1]) / (2 * step)
        np.testing.assert_allclose(found, np.square(gradient, dtype=np.float64).sum((1, 2, 3)), 0.02)


def test_an_operator_without_a_rule_is_named(cnn, tmp_path, specs_of):
    model = onnx.load(cnn(tmp_path / "m.onnx"))
    last = next(node for node in model.graph.node if node.name == "b.relu")
    last.op_type, last.domain, last.name = "QuickGelu", "com.microsoft", "strange"
    inner = next(node for node in model.graph.node if node.name == "a.relu1")
    inner.op_type, inner.domain, inner.name = "QuickGelu", "com.microsoft", "inner"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    network = canonical(model, tmp_path, interface(model), (3, 32, 32), None)
    specs = specs_of(network, find_blocks(network))
    with pytest.raises(UnsupportedOperator, match=r"QuickGelu \(node 'strange'\); rules live in"):
        gradient_heads(network, cut_at_blocks(network, specs), specs)
