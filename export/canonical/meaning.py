"""What the outputs of a model mean: logits, probabilities, or neither; by its operators and by its values.

No operator alone decides it. What ends in a softmax or a sigmoid is explained by the logits before it
(`outputs`). Of everything else one looks at the interval that the output cannot leave (`bounds`), and at what
the network gives for pictures of several kinds (`probes`). What stays unclear is asked, or told as a warning
where the class that is predicted does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from sise_rt.errors import ArgumentError, ModelError
from sise_rt.manifest import ACTIVATIONS
from sise_rt.wording import Note

from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX, Network
from ..ir.nodes import rewire
from ..ir.types import TensorType
from . import activations
from .bounds import FREE, KEEPING, output_bounds

SLACK = 1e-2  # by which probabilities that were rounded to whole steps may leave [0, 1]
SAME_SUM = 1e-3  # how far sums of a row may differ, relative to the largest, where they are meant to be equal
EXACT_SUM = 1e-5  # of probabilities from 1, which rounding in float32 explains
LENGTH_ERROR = 1e-3  # of a vector of length 1
USUAL_LOGIT, LARGEST_LOGIT = 20.0, 100.0
CHOICES = (
    "say what it is: softmax or sigmoid if these are logits, none to explain the output as it is; or choose "
    "another tensor as the output"
)
ASKED = ("activation", "output_name")


@dataclass(frozen=True)
class Evidence:
    """What is known of an output of P probes and C columns.

    Attributes:
        values: (P, C) float64; without rows if they are not finite.
        bounds: the interval that it cannot leave, None where an operator is not known.
    """

    values: np.ndarray
    bounds: tuple[float, float] | None

    @property
    def columns(self) -> int:
        """How many there are."""
        return self.values.shape[1]

    @property
    def within_one(self) -> bool:
        """Whether every value that was seen lies in [0, 1]."""
        values = self.values
        return bool(len(values)) and -SLACK <= values.min() and values.max() <= 1 + SLACK

    @property
    def bounded_by_one(self) -> bool:
        """Whether no value can leave [0, 1]."""
        return self.bounds is not None and -SLACK <= self.bounds[0] and self.bounds[1] <= 1 + SLACK

    @property
    def never_negative(self) -> bool:
        """Whether no value can be below 0."""
        return self.bounds is not None and self.bounds[0] >= -SLACK

    @property
    def never_positive(self) -> bool:
        """Whether no value can be above 0."""
        return self.bounds is not None and self.bounds[1] <= 0

    def sums_to(self, total: float, error: float, values: np.ndarray | None = None) -> bool:
        """Whether the columns of every row do; not of a single one."""
        values = self.values if values is None else values
        return bool(len(values)) and self.columns > 1 and bool(np.all(abs(values.sum(1) - total) <= error))

    @property
    def probable(self) -> bool:
        """Whether the outputs are probabilities."""
        return self.bounded_by_one or (self.within_one and self.sums_to(1, SAME_SUM))


def settle_meaning(
    network: Network, activation: str | None, outputs: Callable[[Network], np.ndarray]
) -> None:
    """Decide what the outputs are, and let `logits` be what `network.activation` makes confidences of.

    Args:
        network: its output is (N, columns); a trailing activation is removed already.
        activation: what the user says.
        outputs: gives the network's output for the probes, (P, columns).

    Raises:
        ModelError: the user contradicts the model, or it is unclear what the outputs are.
    """
    if network.removed:
        _take_own(network, activations.ACTIVATIONS[network.removed], activation)
        return
    if activation == "none":
        network.activation = "none"
        return
    values = outputs(network)
    if not np.isfinite(values).all():
        values = values[:0]
    evidence = Evidence(values, output_bounds(network))
    if evidence.probable:
        _take_probabilities(network, evidence, activation)
    elif evidence.columns > 1 and evidence.sums_to(1, SAME_SUM, np.exp(np.minimum(evidence.values, 1))):
        _take_own(network, "softmax", activation)  # logarithms of probabilities: exp(z) sums to 1
        network.removed = "LogSoftmax"
    elif activation:
        _take_as_told(network, evidence, activation)
    elif evidence.columns == 1:
        _assume_one_logit(network, evidence)
    else:
        _assume_logits(network, evidence)


def require_meaning(activation: str | None) -> None:
    """Refuse a word that says nothing of an output.

    Raises:
        ArgumentError: it is none of `ACTIVATIONS`.
    """
    if activation is not None and activation not in ACTIVATIONS:
        raise ArgumentError(
            f"unknown activation {activation!r}: use softmax, sigmoid or none", settings=("activation",)
        )


def _take_own(network: Network, own: str, given: str | None) -> None:
    if given and given != own:
        raise ModelError(
            f"the model ends in {own}, which contradicts the activation {given}", settings=("activation",)
        )
    network.activation = own
    if own == "softmax" and network.classes == 1:
        raise ModelError("the softmax of a single logit is always 1: the model's output says nothing")


def _take_probabilities(network: Network, evidence: Evidence, given: str | None) -> None:
    """Let the logits be such that the confidences are the probabilities p, to the last digits."""
    single = evidence.sums_to(1, SAME_SUM)
    if given == "sigmoid" and single:
        raise ModelError(
            "the outputs are probabilities that sum to 1, which contradicts the activation sigmoid",
            settings=("activation",),
        )
    if given == "softmax" and not evidence.sums_to(1, 0.1):
        raise ModelError(
            "the outputs are probabilities (they cannot leave 0 to 1) that do not sum to 1, which "
            "contradicts the activation softmax",
            settings=ASKED,
        )
    nodes = list(network.graph.nodes)
    dtype = network.types["logits"].dtype
    op = Builder(f"{OWN_PREFIX}meaning/", network.types, network.weights, dtype)
    rewire(nodes, {"logits": "probabilities"})
    smallest = op.constant(np.array(np.finfo(dtype).tiny, dtype))
    if evidence.sums_to(1, EXACT_SUM):
        op.Log(op.Max("probabilities", smallest), names=("logits",))
        network.activation, network.removed = "softmax", "Softmax"
        network.notes.append(
            "the outputs are probabilities (they sum to 1), though no softmax ends the model: their "
            "logarithms are explained as logits"
        )
    else:
        others = op.Sub(op.constant(np.array(1, dtype)), "probabilities")
        op.Sub(op.Log(op.Max("probabilities", smallest)), op.Log(op.Max(others, smallest)), names=("logits",))
        network.activation, network.removed = "sigmoid", "Sigmoid"
        network.notes.append(
            "the outputs are probabilities (they lie in 0 to 1): their log-odds are explained, and the "
            "confidences are the model's own outputs"
        )
    same = {name: network.types["logits"] for node in op.nodes for name in node.output}
    network.types |= same | {"probabilities": network.types["logits"]}
    network.types |= {
        name: TensorType(network.types["logits"].element, value.shape) for name, value in op.constants.items()
    }
    network.adopt(op)
    network.graph = replace(network.graph, nodes=(*nodes, *op.nodes))


def _take_as_told(network: Network, evidence: Evidence, given: str) -> None:
    if given == "softmax" and evidence.columns == 1:
        raise ModelError("the softmax of a single logit is always 1: take sigmoid", settings=("activation",))
    network.activation = given
    if given == "sigmoid" and evidence.never_negative:
        network.warnings.append(
            "the outputs are taken for logits, as was asked, although they cannot be negative: no confidence "
            "is below one half"
        )


def _assume_one_logit(network: Network, evidence: Evidence) -> None:
    """A single number may be a logit, a probability or a quantity, each of which is cut elsewhere."""
    values = evidence.values
    reason = ""
    if evidence.never_negative or evidence.never_positive:
        reason = f"it cannot be {'negative' if evidence.never_negative else 'positive'}, as a logit can"
    elif evidence.within_one:
        reason = "it lies in 0 to 1 for every picture tried, so it may be a probability"
    elif len(values) and np.median(abs(values)) > USUAL_LOGIT:
        reason = f"it reaches {_largest(values):.4g} for the pictures tried, far from what a logit is"
    if reason:
        raise ModelError(
            f"it is unclear what the model's only output is: {reason}; {CHOICES}", settings=ASKED
        )
    network.activation = "sigmoid"
    network.assumed.append(Note("activation sigmoid, as the model ends in a single logit", "activation"))
    network.warnings.append(
        "the model's only output is taken for a logit, which is cut at 0 (assumed: nothing in the model says "
        "so; if it is a probability or a quantity, export it again with the activation that it has)"
    )


def _assume_logits(network: Network, evidence: Evidence) -> None:
    """Several logits are ordered alike by a softmax, whatever their scale is; others are asked about."""
    values, largest = evidence.values, _largest(evidence.values)
    reason = ""
    if len(values) and np.all(abs(np.square(values).sum(1) - 1) <= LENGTH_ERROR):
        reason = "their squares sum to 1 for every picture tried, as those of an embedding do"
    elif evidence.never_positive:
        reason = "they cannot be positive, as logarithms of probabilities"
    elif evidence.sums_to(1, SAME_SUM, np.exp(-np.maximum(values, -1))):
        reason = "they are negative logarithms of probabilities, of which the smallest is the likeliest"
    elif evidence.never_negative and evidence.bounds != FREE and evidence.bounds[1] < np.inf:  # type: ignore[index]
        reason = f"they cannot leave 0 to {evidence.bounds[1]:.4g}, as percentages"  # type: ignore[index]
    elif len(values) and values.min() >= 0 and _sums_alike(values):
        reason = f"they sum to {values[0].sum():.4g} for every picture tried, as percentages do"
    elif len(values) and values.min() > 0 and np.median(values) > USUAL_LOGIT:
        reason = f"all are positive for every picture tried and reach {largest:.4g}, as quantities do"
    elif evidence.within_one and values.any() and evidence.bounds is None:
        reason = "they lie in 0 to 1 for every picture tried, so they may be probabilities"
    if reason:
        raise ModelError(f"it is unclear what the model's outputs are: {reason}; {CHOICES}", settings=ASKED)
    network.activation = "softmax"
    logits = f"{evidence.columns} logits"
    network.assumed.append(Note(f"activation softmax, as the model ends in {logits}", "activation"))
    unusual = ""
    if evidence.within_one and values.any():
        unusual = "all of them lay in 0 to 1"
    elif len(values) and values.min() > 0 and not _rectified(network):
        unusual = "all of them were positive, as distances are, of which the smallest is the nearest,"
    elif largest > LARGEST_LOGIT:
        unusual = f"they reached {largest:.4g}"
    if unusual:
        network.warnings.append(
            f"the outputs are taken for logits under a softmax (assumed), although {unusual} for the "
            "pictures tried at the export"
        )


def _rectified(network: Network) -> bool:
    """Whether the outputs are moved values, or means, of a ReLU, as SqueezeNet's logits are."""
    producers = {name: node for node in network.graph.nodes for name in node.output}
    node = producers.get("logits")
    while node is not None and node.op_type in KEEPING:
        node = producers.get(node.input[0])
    return node is not None and node.op_type == "Relu"


def _largest(values: np.ndarray) -> float:
    return float(abs(values).max(initial=0.0))


def _sums_alike(values: np.ndarray) -> bool:
    sums = values.sum(axis=1)
    return bool(sums[0] > 0 and np.ptp(sums) <= SAME_SUM * sums[0])
