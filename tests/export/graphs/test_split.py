"""Cutting a network, and the heads and linked graphs made of the pieces, run by ONNX Runtime."""

from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pytest
from sise_rt.export.canonical.blocks import find_blocks
from sise_rt.export.canonical.form import canonical
from sise_rt.export.graphs.split import cut_at_blocks
from sise_rt.export.intake.interface import interface
from sise_rt.export.ir.network import to_model


def run(graph, network, *values):
    model = to_model(graph, network).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(graph.inputs, values, strict=True)))


@pytest.fixture
def network(small_model, tmp_path):
    model = onnx.load(small_model)
    ends = interface(model)
    return canonical(model, tmp_path, ends, ends.image_size, None)


def test_pieces_chain_to_the_network(network, specs_of):
    blocks = find_blocks(network)
    pieces = cut_at_blocks(network, specs_of(network, blocks))
    assert [piece.name for piece in pieces] == ["blocks/01", "blocks/02", "blocks/03", "classifier"]
    ends = ["images", *(block.tensor for block in blocks), "logits"]
    assert [(piece.inputs, piece.outputs) for piece in pieces] == [((a,), (b,)) for a, b in pairwise(ends)]
    images = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    value = images
    for piece in pieces:
        (value,) = run(piece, network, value)
    np.testing.assert_allclose(value, run(network.graph, network, images)[0], 1e-6, 1e-6)


def test_every_node_is_in_one_piece(network, specs_of):
    pieces = cut_at_blocks(network, specs_of(network, find_blocks(network)))
    names = [node.output[0] for piece in pieces for node in piece.nodes]
    assert sorted(names) == sorted(node.output[0] for node in network.graph.nodes)
