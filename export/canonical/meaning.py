"""What the outputs of a model mean: logits, probabilities, or neither; by its operators and by its values.

No operator alone decides it. What ends in a softmax or a sigmoid is explained by the logits before it
(`outputs`). Of everything else one looks at the interval that the output cannot leave (`bounds`), and at what
the network gives for pictures of several kinds (`probes`). What stays unclear is asked, or told as a warning
where the class that is predicted does not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
from .evidence import EXACT_SUM, SAME_SUM, Evidence
from .last_steps import before_minus, may_lose_sum, unclear_step
from .rounding import pass_through_rounding

USUAL_LOGIT, LARGEST_LOGIT = 20.0, 100.0
CHOICES = (
    "say what it is: softmax or sigmoid if these are logits, none to explain the output as it is; or choose "
    "another tensor as the output"
)
ASKED = ("activation", "output_name")


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
        if network.activation == "sigmoid" and not activation and network.classes > 1:
            _tell_ordinal(network, Evidence(_finite(outputs(network)), None).cumulative())
        return
    if activation == "none":
        network.activation = "none"
        return
    evidence = Evidence(_finite(outputs(network)), output_bounds(network))
    if evidence.probable:
        _take_probabilities(network, evidence, activation)
    elif evidence.columns > 1 and evidence.sums_to(1, SAME_SUM, np.exp(np.minimum(evidence.values, 1))):
        _take_own(network, "softmax", activation)  # logarithms of probabilities: exp(z) sums to 1
        network.removed = "LogSoftmax"
    elif not activation and evidence.odds_of_one_label:
        network.activation = "sigmoid"
        network.notes.append(
            "the outputs are log-odds of probabilities (whose sum is 1): a sigmoid makes them confidences"
        )
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
    single = evidence.sums_to(1, SAME_SUM) and not may_lose_sum(network)
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
    if not given:
        _doubt_probabilities(network, evidence)
    pass_through_rounding(network, evidence.values)
    nodes = list(network.graph.nodes)
    dtype = network.types["logits"].dtype
    op = Builder(f"{OWN_PREFIX}meaning/", network.types, network.weights, dtype)
    rewire(nodes, {"logits": "probabilities"})
    smallest = op.constant(np.array(np.finfo(dtype).tiny, dtype))
    if single and evidence.sums_to(1, EXACT_SUM):
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


def _doubt_probabilities(network: Network, evidence: Evidence) -> None:
    """Refuse what falls as probabilities rise, and warn of what may be a function of them.

    Raises:
        ModelError: the columns are 1 - p.
    """
    if evidence.never_low:
        raise ModelError(
            f"it is unclear what the model's outputs are: they sum to {evidence.columns - 1} for every "
            f"picture tried, as 1 - p of probabilities p of {evidence.columns} classes do; choose "
            f"{_instead(network)}, or say sigmoid or none to explain each as it is",
            settings=ASKED,
        )
    if evidence.of_length_one:
        network.warnings.append(
            "the outputs are taken for probabilities, as they lie in 0 to 1, although their squares sum to 1 "
            "for every picture tried, as those of square roots of probabilities do"
        )
    _tell_groups(network, evidence)
    _tell_ordinal(network, evidence.cumulative(probable=True))


def _tell_groups(network: Network, evidence: Evidence) -> None:
    several = range(2, evidence.columns)
    groups = next((count for count in several if evidence.sums_to(count, SAME_SUM * count)), 0)
    if groups:
        network.warnings.append(
            f"the outputs are probabilities that sum to {groups} for every picture tried, as those of "
            f"{groups} groups of classes do: the class that is predicted is the likeliest of all groups; "
            "name the target to explain one of another group"
        )


def _instead(network: Network) -> str:
    """The tensor to explain in place of what falls as it rises."""
    name = before_minus(network)
    return f"the tensor before the minus, {name}, as the output" if name else "the tensor of p as the output"


def _tell_ordinal(network: Network, highest: str) -> None:
    if highest:
        network.warnings.append(
            "the outputs look cumulative, as an ordinal model's, whose output k stands for more than k: they "
            "have one order for every picture tried, so the class with the highest output is always "
            f"{highest}; name the target to explain another"
        )


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
    if evidence.of_length_one:
        reason = "their squares sum to 1 for every picture tried, as those of an embedding do"
    elif evidence.never_positive:
        reason = "they cannot be positive, as logarithms of probabilities"
    elif evidence.of_minus_logs:
        reason = (
            "they are negative logarithms of probabilities, of which the smallest is the likeliest (so "
            f"choose {_instead(network)})"
        )
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
    # A softmax cancels what all share: it would be the same for every picture.
    assumed = network.activation = "sigmoid" if evidence.moves_together() else "softmax"
    logits = f"{evidence.columns} logits"
    network.assumed.append(Note(f"activation {assumed}, as the model ends in {logits}", "activation"))
    _tell_ordinal(network, evidence.cumulative())
    if doubt := _doubt_of_logits(network, evidence):
        network.warnings.append(
            f"the outputs are taken for logits under a {assumed} (assumed), although {doubt}: if they are "
            "something else, export it again with the activation that they have, or with another output"
        )


def _doubt_of_logits(network: Network, evidence: Evidence) -> str:
    """What is unusual of logits: their values, or how they are made."""
    largest, unusual = _largest(evidence.values), ""
    if evidence.within_one and evidence.values.any():
        unusual = "all of them lay in 0 to 1 for the pictures tried"
    elif len(evidence.values) and evidence.values.min() > 0 and not _rectified(network):
        unusual = "all of them were positive, as distances are, of which the smallest is the nearest,"
        unusual += " for the pictures tried"
    elif largest > LARGEST_LOGIT:
        unusual = f"they reached {largest:.4g} for the pictures tried"
    return " and ".join(filter(None, (unusual, unclear_step(network))))


def _finite(values: np.ndarray) -> np.ndarray:
    """Values (P, C), without rows where one is not finite."""
    return values if np.isfinite(values).all() else values[:0]


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
