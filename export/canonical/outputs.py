"""The output in canonical form: logits (N, classes), and what turns them into confidences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from sise_rt.errors import ArgumentError, ModelError

from ..ir.messages import described
from ..ir.network import Network
from ..ir.nodes import rewire
from ..ir.types import TensorType
from .activations import ACTIVATIONS, activation_of

RESHAPES = ("Flatten", "Identity", "Reshape", "Squeeze")
DECISIONS = frozenset({"ArgMax", "ArgMin", "Equal", "Greater", "GreaterOrEqual", "Hardmax", "Less", "TopK"})
MIXING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})  # of bounded values, these bound nothing
SUM_ERROR = 1e-3  # of probabilities from 1; some models clip them


def strip_activation(network: Network) -> None:
    """Remove a trailing softmax or sigmoid, an operator or written out, and remember it.

    Probabilities that come about otherwise (a mean of several softmaxes) get a logarithm behind them, which
    the softmax undoes.

    Raises:
        ModelError: it is a softmax over something other than the classes, or the output is a decision.
    """
    producers = {name: node for node in network.graph.nodes for name in node.output}
    _refuse_decision(producers)
    node = producers.get("logits")
    while node is not None and (node.op_type in RESHAPES or _is_float_cast(network, node)):
        node = producers.get(node.input[0])
    if node is None:
        return
    activation = activation_of(node, network, producers)
    if activation is None:
        _take_logarithm(network)
        return
    network.removed, before, axis = activation
    shape = network.types[node.output[0]].shape
    if axis is not None and any(
        d != 1 for i, d in enumerate(shape) if i != axis % len(shape) and (i or axis % len(shape) == 0)
    ):
        raise ModelError(
            f"node {node.name!r}: {node.op_type} over axis {axis % len(shape)} of {described(shape)} "
            "is no classifier's output: segmenters and detectors are not supported"
        )
    after = node.output[0]
    nodes = [other for other in network.graph.nodes if other is not node]
    rewire(nodes, {after: before})
    if after == "logits":
        rewire(nodes, {before: "logits"})
        network.types["logits"] = network.types[before]
    network.graph = replace(network.graph, nodes=tuple(nodes))


def _refuse_decision(producers: Mapping[str, onnx.NodeProto]) -> None:
    node = producers.get("logits")
    while node is not None and node.op_type in (*RESHAPES, "Cast"):
        node = producers.get(node.input[0])
    if node is not None and node.op_type in DECISIONS:
        raise ModelError(
            f"the output is what {node.op_type} (node {node.name!r}) decides, not the scores: explain the "
            f"tensor that it takes, {node.input[0]}",
            settings=("output_name",),
        )


def _is_float_cast(network: Network, node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and all(
        network.types[name].dtype.kind == "f" for name in (node.input[0], node.output[0])
    )


def _take_logarithm(network: Network) -> None:
    """Let the logits be the outputs' logarithms, where these were probabilities on every image tried."""
    sample = network.sample
    if sample is None or sample.dtype.kind != "f" or sample.min(initial=0.0) < 0:
        return
    sums = sample.reshape(len(sample), -1).sum(axis=1)
    if sample[0].size > 1 and sample.max() <= 1 and np.allclose(sums, 1, atol=SUM_ERROR, rtol=0):
        nodes = list(network.graph.nodes)
        rewire(nodes, {"logits": "probabilities"})
        network.types |= {name: network.types["logits"] for name in ("probabilities", "no_zeros")}
        network.weights["smallest"] = np.array(np.finfo(sample.dtype).tiny, sample.dtype)
        network.types["smallest"] = TensorType(network.types["logits"].element, ())
        nodes.append(helper.make_node("Max", ["probabilities", "smallest"], ["no_zeros"], "no_zeros"))
        nodes.append(helper.make_node("Log", ["no_zeros"], ["logits"], "log_probabilities"))
        network.graph = replace(network.graph, nodes=tuple(nodes))
        network.removed = "Softmax"
        network.notes.append(
            "the outputs are probabilities (they sum to 1), though no softmax ends the model: their "
            "logarithms are explained as logits"
        )
    elif sample.any() and (
        (sample.max() <= 1 and _bounded(network))  # small values alone say nothing: so are those of a ReLU
        or (len(sample) > 1 and sample[0].size > 1 and np.ptp(sums) <= SUM_ERROR * sums[0])  # as per cent
    ):
        network.assumed.append(
            "the outputs are logits, although they look like probabilities (if they are, choose the tensor "
            "before the last activation as the output)"
        )


def _bounded(network: Network) -> bool:
    """Whether the outputs are a sigmoid's or a softmax's, with no more than constants behind it."""
    producers = {name: node for node in network.graph.nodes for name in node.output}
    node = producers.get("logits")
    while node is not None and node.op_type not in ("HardSigmoid", "Sigmoid", "Softmax"):
        varying = [name for name in node.input if name and name not in network.weights]
        node = producers.get(varying[0]) if len(varying) == 1 and node.op_type not in MIXING else None
    return node is not None


def resolve_activation(network: Network, activation: str | None) -> None:
    """Decide what turns the logits into confidences: what was removed, what the user says, or an assumption.

    Raises:
        ArgumentError: there is no such activation.
        ModelError: the user contradicts the model, or wants the softmax of a single logit.
    """
    own = ACTIVATIONS[network.removed] if network.removed else None
    if activation and activation not in ACTIVATIONS.values():
        raise ArgumentError(
            f"unknown activation {activation!r}: use softmax or sigmoid", settings=("activation",)
        )
    if activation and own and activation != own:
        raise ModelError(
            f"the model ends in {own}, which contradicts the activation {activation}",
            settings=("activation",),
        )
    count = int(np.prod([d for d in network.types["logits"].shape if isinstance(d, int)]))
    if not activation and not own:
        activation = "sigmoid" if count == 1 else "softmax"
        logits = "a single logit" if count == 1 else f"{count} logits"
        network.assumed.append(f"activation {activation}, as the model ends in {logits} (can be set)")
    network.activation = activation or own or ""
    if count == 1 and network.activation == "softmax":
        always = "the softmax of a single logit is always 1"
        if own:
            raise ModelError(f"{always}: the model's output says nothing")
        raise ModelError(f"{always}: take sigmoid", settings=("activation",))


def to_rank_two(network: Network) -> None:
    """Make logits (N, classes); a single logit z becomes the two sides (-z, z).

    Raises:
        ModelError: the output is not one float for each class.
    """
    logits, batch = network.types["logits"], network.batch
    classes = [d for d in logits.shape if d is not None and d != 1]
    free = [d for d in logits.shape if d is None]
    if len(classes) > 1 or (logits.shape[:1] != (None,) or len(free) > 1 if batch is None else free):
        raise ModelError(
            f"the output has shape {described(logits.shape)}, where a classifier gives (N, classes): "
            "segmenters and detectors are not supported"
        )
    if logits.dtype.kind != "f":
        raise ModelError(
            f"the output is {logits.dtype}, not scores: choose another", settings=("output_name",)
        )
    count = classes[0] if classes else 1
    nodes = list(network.graph.nodes)
    if logits.shape != (batch, count):
        raw, shape = "logits_of_other_rank", "logits_shape"
        rewire(nodes, {"logits": raw})
        nodes.append(helper.make_node("Reshape", [raw, shape], ["logits"], "logits"))
        network.weights[shape] = np.array([-1, count])
        network.types |= {
            raw: logits,
            shape: TensorType(TensorProto.INT64, (2,)),
            "logits": replace(logits, shape=(batch, count)),
        }
    if count == 1:
        positive, negative = "positive_logit", "negative_logit"
        rewire(nodes, {"logits": positive})
        nodes.append(helper.make_node("Neg", [positive], [negative], negative))
        nodes.append(helper.make_node("Concat", [negative, positive], ["logits"], "both_sides", axis=1))
        one = network.types["logits"]
        network.types |= {positive: one, negative: one, "logits": replace(one, shape=(batch, 2))}
        network.two_sided = True
        network.notes.append("the single logit z is explained from both sides: class 0 is -z, class 1 is z")
    network.graph = replace(network.graph, nodes=tuple(nodes))
