"""Shape arithmetic: folded, turned into indices within an image, or computed from the batch alone."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.canonical.blocks import find_blocks
from sise_rt.export.canonical.form import canonical
from sise_rt.export.graphs.split import cut_at_blocks
from sise_rt.export.intake.interface import interface
from sise_rt.export.ir.builder import Builder
from sise_rt.export.ir.network import BATCH, to_model

rng = np.random.default_rng(5)
images = rng.standard_normal((3, 3, 8, 8)).astype(np.float32)


def weights(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def batch(op, x):
    return op.Squeeze(op.Shape(x, start=0, end=1))


@pytest.fixture
def bring(tmp_path):
    """The canonical network of what `body` adds to two convolutions, and a function that runs the source."""

    def bring(body):
        op = Builder("t_", {}, {})
        x = op.Relu(op.Conv("x", op.constant(weights(4, 3, 2, 2)), strides=[2, 2]))
        output = op.Gemm(body(op, x), op.constant(weights(4, 5)))
        graph = helper.make_graph(
            op.nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, 8, 8))],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in op.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        expected = session.run(None, {"x": images})[0]
        ends = interface(model)
        return canonical(model, tmp_path, ends, ends.image_size, None), expected

    return bring


def run(graph, network, value):
    model = to_model(graph, network).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {graph.inputs[0]: value})[0]


@pytest.fixture
def check_pieces(specs_of):
    """Whether a network falls into so many blocks, whose graphs chain to the expected output."""

    def check(network, expected, blocks):
        pieces = cut_at_blocks(network, specs_of(network, find_blocks(network)))
        assert len(pieces) == blocks + 1
        value = images
        for piece in pieces:
            onnx.checker.check_model(to_model(piece, network), full_check=True)
            value = run(piece, network, value)
        np.testing.assert_allclose(value, expected, 1e-5, 1e-6)
        return pieces

    return check


def flat_gather(order):
    """Take channels in an order by indices into the flattened batch, as torch's exporter writes it."""

    def body(op, x):
        mean = op.ReduceMean(op.Relu(op.Conv(x, op.constant(weights(4, 4, 1, 1)))), op.constant([2, 3]))
        starts = op.Mul(
            op.Range(op.constant(np.int64(0)), batch(op, x), op.constant(np.int64(1))), op.constant(4)
        )
        indices = op.Add(
            op.Reshape(starts, op.constant([-1, 1, 1, 1])), op.constant(np.reshape(order, (1, 4, 1, 1)))
        )
        return op.Flatten(op.Gather(op.Reshape(mean, op.constant([-1])), indices, names=["picked"]))

    return body


def test_indices_in_order_become_a_reshape(bring, check_pieces):
    network, expected = bring(flat_gather([0, 1, 2, 3]))
    check_pieces(network, expected, 1)
    assert not {"Gather", "Shape", "Range"} & {node.op_type for node in network.graph.nodes}


def test_indices_become_those_within_an_image(bring, check_pieces):
    network, expected = bring(flat_gather([2, 0, 0, 3]))
    check_pieces(network, expected, 1)
    (gather,) = (node for node in network.graph.nodes if node.op_type == "Gather")
    np.testing.assert_array_equal(network.weights[gather.input[1]].ravel(), [2, 0, 0, 3])
    assert not {"Shape", "Range"} & {node.op_type for node in network.graph.nodes}


def test_what_depends_on_the_batch_alone_crosses_no_cut(bring):
    def body(op, x):
        # A position code for the whole batch, made before the first convolution is read.
        size = op.Concat(op.Shape("x", start=0, end=1), op.constant([4, 2, 2]), axis=0)
        code = op.Expand(op.constant(weights(2, 2)), size)
        code = op.Mul(
            code, op.Reshape(op.Cast(op.Reciprocal(op.Cast(batch(op, x), to=1)), to=1), op.constant([1]))
        )
        x = op.Add(
            op.Relu(op.Conv(x, op.constant(weights(4, 4, 2, 2)), strides=[2, 2])), code, names=["coded"]
        )
        x = op.Mul(op.Relu(op.Conv(x, op.constant(weights(4, 4, 1, 1)))), code)
        return op.ReduceMean(x, op.constant([2, 3]), keepdims=0)

    # The scale by 1 / N makes the images of a batch depend on its size, which only this test allows.
    with pytest.raises(Exception, match="changes with the other images of its batch"):
        bring(body)


def test_a_tensor_of_the_batch_is_made_again_in_each_piece(bring, check_pieces):
    def body(op, x):
        size = op.Concat(op.Shape(x, start=0, end=1), op.constant([4, 1, 1]), axis=0)
        code = op.Add(op.ConstantOfShape(size), op.constant(weights(4, 1, 1)))
        x = op.Sub(x, code)
        x = op.Mul(
            op.Relu(op.Conv(x, op.constant(weights(4, 4, 2, 2)), strides=[2, 2])), code, names=["coded"]
        )
        x = op.Conv(x, op.constant(weights(4, 4, 1, 1)))
        return op.ReduceMean(op.Sub(op.Relu(x), code), op.constant([2, 3]), keepdims=0)

    network, expected = bring(body)
    pieces = check_pieces(network, expected, 2)
    for piece in pieces[:2]:
        (node,) = (node for node in piece.nodes if BATCH in node.output)
        assert list(node.input) == list(piece.inputs)
