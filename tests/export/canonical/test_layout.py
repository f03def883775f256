"""Where the channels are, and blocks that have them last, against a twin with its channels first."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.canonical.blocks import find_blocks
from sise_rt.export.canonical.form import canonical
from sise_rt.export.canonical.layout import channel_axes, channels_first
from sise_rt.export.graphs.heads import gradient_heads
from sise_rt.export.graphs.link import features_graph
from sise_rt.export.graphs.split import cut_at_blocks
from sise_rt.export.intake.interface import interface
from sise_rt.export.ir.builder import Builder
from sise_rt.export.ir.network import to_model

rng = np.random.default_rng(4)
STEM, MIX, DOWN, HEAD = (
    rng.standard_normal(shape).astype(np.float32) / 4
    for shape in ((6, 3, 2, 2), (6, 6), (8, 6, 2, 2), (8, 5))
)


def build(tmp_path, body):
    op = Builder("t_", {}, {})
    output = body(op, op.Conv("x", op.constant(STEM), strides=[2, 2]))
    graph = helper.make_graph(
        op.nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, 16, 16))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in op.constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    ends = interface(model)
    tmp_path.mkdir(exist_ok=True)
    return canonical(model, tmp_path, ends, ends.image_size, None)


def rest(op, a, b):
    """What both twins end in: a second resolution, of two branches, and the classifier."""
    a, b = (op.Conv(x, op.constant(DOWN), strides=[2, 2]) for x in (a, b))
    x = op.Relu(op.Add(a, op.Tanh(b)), names=["second"])
    return op.MatMul(op.ReduceMean(x, op.constant([2, 3]), keepdims=0), op.constant(HEAD))


def last(op, x):
    x = op.Transpose(x, perm=[0, 2, 3, 1])
    mixed = op.MatMul(x, op.constant(MIX), names=["mixed"])
    x = op.Add(x, op.Softplus(mixed), names=["sum"])
    a, b = (op.Transpose(op.Mul(x, op.constant(c)), perm=[0, 3, 1, 2]) for c in (0.25, 0.75))
    return rest(op, a, b)


def first(op, x):
    mixed = op.Conv(x, op.constant(np.ascontiguousarray(MIX.T[:, :, None, None])))
    x = op.Add(x, op.Softplus(mixed), names=["sum"])
    a, b = (op.Mul(x, op.constant(c)) for c in (0.25, 0.75))
    return rest(op, a, b)


def run(network, tensors, images, specs_of):
    blocks = channels_first(network, tensors)
    specs = specs_of(network, blocks)
    pieces = cut_at_blocks(network, specs)
    graph = features_graph(specs["features"], pieces, gradient_heads(network, pieces, specs))
    session = onnxruntime.InferenceSession(
        to_model(graph, network).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return blocks, session.run(None, {"images": images, "targets": np.array([1, 3])})


def test_blocks_with_channels_last_equal_their_twin(tmp_path, specs_of):
    images = rng.standard_normal((2, 3, 16, 16)).astype(np.float32)
    twins = [build(tmp_path / name, body) for name, body in (("last", last), ("first", first))]
    results = []
    for network in twins:
        wanted = find_blocks(network)
        assert [(b.tensor, b.channels, b.height) for b in wanted] == [("sum", 6, 8), ("second", 8, 4)]
        results.append(run(network, wanted, images, specs_of))
    assert [block.tensor for block in results[0][0]] == ["sise_rt/sum/channels_first", "second"]
    assert twins[0].rearranged == {"sise_rt/sum/channels_first": "sum"}
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(a, b, 1e-5, 1e-6)


def test_channel_axes_follow_the_data(tmp_path):
    network = build(tmp_path, last)
    axes = channel_axes(network)
    assert axes["mixed"] == axes["sum"] == 3
    assert axes["second"] == 1


def test_an_axis_claimed_twice_is_not_known(tmp_path):
    def body(op, x):
        tokens = op.MatMul(x, op.constant(np.eye(8, dtype=np.float32)), names=["mixed"])  # along the width
        return rest(op, tokens, x)

    assert "mixed" not in channel_axes(build(tmp_path, body))
