"""Torch's numbers for an image, as they are and with every unit on the bundle's side of its kink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from sise_rt.errors import ModelError
from sise_rt.graphs import alpha_name
from sise_rt.running.gradient_scores import rounding
from sise_rt.running.passes import run
from sise_rt.running.sessions import Sessions

from ..intake.source import Source
from ..ir.cpu_sessions import Level, give_back_memory, open_session, quiet_options
from ..ir.mapping import unload
from ..ir.messages import gist
from ..ir.network import Network
from .autograd import autograd_reference, inputs_of_kinks, merged_nodes
from .original import Reference


def by_autograd(
    source: Source,
    network: Network,
    image: np.ndarray,
    target: int,
    tensors: Sequence[str],
    values: Mapping[str, np.ndarray] | None = None,
) -> Reference:
    """What torch gives for an image, in float64; its tensors take `values` in place of their own.

    Raises:
        ModelError: torch cannot run the program in float64, or not differentiate it.
    """
    names = {network.rearranged.get(tensor, tensor): tensor for tensor in tensors}
    try:
        output, maps, gradients = autograd_reference(
            source.program,
            image,
            target,
            network.activation,
            network.removed,
            list(names),
            values,
            merged_nodes(source.program, network.types),
        )
    except RuntimeError as error:  # torch has no kind of its own for it
        raise ModelError(
            f"torch cannot differentiate its own program in float64, which the bundle is compared with: "
            f"{gist(error)}; export the ONNX file that torch.onnx.export writes instead"
        ) from error
    of_image = gradients.pop("images", None)
    unload(source.parked)
    give_back_memory()
    last = {name for name in names if name != names[name]}
    maps, gradients = (
        {names[n]: v.transpose(0, 3, 1, 2) if n in last else v for n, v in by_name.items()}
        for by_name in (maps, gradients)
    )
    alphas = {tensor: gradient.mean(axis=(2, 3)) for tensor, gradient in gradients.items()}
    rounded = {tensor: rounding(gradient) for tensor, gradient in gradients.items()}
    return Reference(output, maps, alphas, rounded, of_image)


def on_same_side(
    sessions: Sessions,
    source: Source,
    network: Network,
    inputs: dict[str, np.ndarray],
    tensors: Sequence[str],
) -> tuple[dict[str, np.ndarray], Reference]:
    """The bundle's gradient scores by block tensor, and torch's numbers on the bundle's sides of all kinks.

    Torch's operators with a kink take the values that enter them in the bundle's own run.

    Args:
        sessions: of the bundle.
        source: with torch's program.
        network: that the bundle was made of.
        inputs: `images` and `targets`.
        tensors: of the blocks.
    """
    outputs, values = _values(sessions, source, inputs)
    target = int(inputs["targets"][0])
    reference = by_autograd(source, network, inputs["images"], target, tensors, values)
    return {tensor: outputs[alpha_name(i)] for i, tensor in enumerate(tensors, 1)}, reference


def _values(
    sessions: Sessions, source: Source, inputs: dict[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """From one run of the features graph: its outputs, and what enters operators with a kink."""
    model = onnx.load(sessions.folder / sessions.manifest.graphs.features, load_external_data=False)
    produced = {name for node in model.graph.node for name in node.output}
    outputs = [value.name for value in model.graph.output]
    inner = [name for name in inputs_of_kinks(source.program) if name in produced]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner if name not in outputs)
    session = open_session(model.SerializeToString(), quiet_options(Level.ORT_ENABLE_ALL), sessions.folder)
    values = dict(zip((o.name for o in session.get_outputs()), run(session, inputs), strict=True))
    values = {name: value.copy() for name, value in values.items()}
    del session
    give_back_memory()
    return {name: values[name] for name in outputs}, {name: values[name] for name in inner}
