"""Graphs of a bundle, with the inputs and outputs that their specs describe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from sise_rt.graphs import GraphSpec

from ..ir.network import Graph
from ..ir.types import TensorType


def graph_by(spec: GraphSpec, nodes: Sequence[onnx.NodeProto]) -> Graph:
    """The part of `nodes` that leads from a graph's inputs to its outputs."""
    declared = {
        tensor.name: TensorType(helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype)), tensor.shape)
        for tensor in (*spec.inputs, *spec.outputs)
    }
    inputs, outputs = (tuple(tensor.name for tensor in ends) for ends in (spec.inputs, spec.outputs))
    return Graph(spec.name, (), inputs, outputs, declared).by(nodes)
