"""`explain.onnx` by a gradient CAM: one forward and one backward pass, which run anywhere."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from sise_rt.bundle import BEST, Manifest
from sise_rt.graphs import graph_specs

from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX, Graph, Network
from .ends import answered, are_finite, explaining_graph, tell_class, tell_status
from .link import enlarged
from .thresholding import double, normalised
from .vjps import gradient_graph

CAMS = ("grad-cam", "grad-cam++")
NAME = "last_block_gradient"


def cam_graph(network: Network, manifest: Manifest, method: str) -> Graph:
    """A gradient CAM at the last block as one graph; its constants join the network's weights.

    Args:
        network: in canonical form, its block outputs channels first.
        manifest: of a bundle with gradients.
        method: of `CAMS`.

    Raises:
        UnsupportedOperator: an operator behind the last block has no gradient rule.
    """
    block = manifest.blocks[-1]
    op = Builder(f"{OWN_PREFIX}cam/", network.types, network.weights)
    classes = op.constant(np.arange(network.classes)[None])
    gradients = gradient_graph(graph_specs(manifest)[NAME], network, block.tensor).nodes
    answer = answered(op, network, [node for node in network.graph.nodes])
    chosen = op.Equal(classes, op.Unsqueeze(answer.target, op.constant([1])))
    op.Cast(chosen, to=TensorProto.FLOAT, names=("cotangents",))
    known = {output for node in network.graph.nodes for output in node.output}
    op.nodes.extend(node for node in gradients if node.output[0] not in known)
    finite = are_finite(op, ["image", "logits", block.tensor, NAME])
    maps, gradient = (
        op.Cast(op.Reshape(name, op.constant([block.channels, -1])), to=TensorProto.DOUBLE)
        for name in (block.tensor, NAME)
    )
    weights = {"grad-cam": _mean, "grad-cam++": _plus_plus}[method](op, maps, gradient)
    combined = op.Max(op.MatMul(weights, maps), op.constant(double(0)))
    peak = op.ReduceMax(combined, keepdims=0)  # a scale says nothing, and float32 is to hold it
    some = op.Greater(peak, op.constant(double(0)))
    small = op.Div(combined, op.Where(some, peak, op.constant(double(1))))
    small = op.Reshape(op.Cast(small, to=TensorProto.FLOAT), op.constant([1, 1, block.height, block.width]))
    raw = op.Cast(op.Squeeze(enlarged(op, small, network), op.constant([0])), to=TensorProto.DOUBLE)
    explanation, shaped = normalised(op, raw)
    sound = op.And(finite, answer.possible)
    explanation = op.Where(sound, op.Squeeze(explanation, op.constant([0])), op.constant(double(0)))
    op.Cast(explanation, to=TensorProto.FLOAT, names=("explanation",))
    tell_class(op, network, answer, finite)
    speaks = op.Greater(op.ReduceMax(raw, keepdims=0), op.constant(double(0)))
    tell_status(op, possible=answer.possible, finite=finite, speaks=speaks, shaped=shaped)
    network.adopt(op)
    return explaining_graph(network, op.nodes, {"target": np.array(BEST)}, {})


def _mean(op: Builder, maps: str, gradient: str) -> str:
    """Weights (1, K) of Grad-CAM (eq. 1): the gradient's mean over locations."""
    return op.Transpose(op.ReduceMean(gradient, op.constant([1]), keepdims=1), perm=[1, 0])


def _plus_plus(op: Builder, maps: str, gradient: str) -> str:
    """Weights (1, K) of Grad-CAM++ (eq. 19), see `sise_rt.methods.grad_cam_plus_plus`."""
    across, zero, one = op.constant([1]), op.constant(double(0)), op.constant(double(1))
    square = op.Mul(gradient, gradient)
    cube = op.Mul(square, gradient)
    below = op.Add(op.Add(square, square), op.Mul(cube, op.ReduceSum(maps, across, keepdims=1)))
    none = op.Equal(below, zero)
    share = op.Where(none, zero, op.Div(square, op.Where(none, one, below)))
    positive = op.Where(op.Greater(gradient, zero), gradient, zero)
    weights = op.ReduceSum(op.Mul(share, positive), across, keepdims=1)
    return op.Transpose(weights, perm=[1, 0])
