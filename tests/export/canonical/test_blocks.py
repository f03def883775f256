"""Block outputs of the families of networks, small and with random weights."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.canonical.blocks import find_blocks, named_blocks
from sise_rt.export.canonical.form import canonical
from sise_rt.export.examine import examine
from sise_rt.export.intake.interface import interface
from sise_rt.export.ir.builder import Builder

from sise_rt.errors import ModelError

rng = np.random.default_rng(3)


class Layers(Builder):
    """Layers with random weights."""

    def constant(self, value):
        array = np.asarray(value)
        return super().constant(array.astype(np.float32) if array.dtype.kind == "f" else array)

    def conv(self, x, inputs, outputs, k=3, s=1, pad=None):
        w = rng.standard_normal((outputs, inputs, k, k)) * (2 / (inputs * k * k)) ** 0.5
        pad = k // 2 if pad is None else pad
        return self.Conv(x, self.constant(w), strides=[s, s], pads=[pad] * 4)

    def relu_conv(self, *args, name=None, **kwargs):
        return self.Relu(self.conv(*args, **kwargs), names=[name] if name else ())

    def pool(self, x, k=2, s=2, **attributes):
        return self.MaxPool(x, kernel_shape=[k, k], strides=[s, s], **attributes)

    def linear(self, x, inputs, outputs):
        return self.MatMul(x, self.constant(rng.standard_normal((inputs, outputs)) * inputs**-0.5))

    def head(self, x, channels):
        return self.Gemm(
            self.Flatten(self.GlobalAveragePool(x)), self.constant(rng.standard_normal((channels, 5)))
        )


@pytest.fixture
def network(tmp_path):
    def bring(build, size=32):
        op = Layers("t_", {}, {})
        output = build(op, "x")
        graph = helper.make_graph(
            op.nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 3, size, size))],
            [onnx.ValueInfoProto(name=output)],
            [numpy_helper.from_array(value, name) for name, value in op.constants.items()],
        )
        graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        ends = interface(model)
        return canonical(model, tmp_path, ends, ends.image_size, None)

    return bring


def found(network):
    return [(block.tensor, block.channels, block.height, block.width) for block in find_blocks(network)]


def test_a_tensor_that_was_there_before_the_clean_up(small_model):
    """The convolution's output is gone, as BatchNormalization is fused into it."""
    (refusal,) = examine(small_model, blocks=["stem.conv"]).refusals
    assert "tensor 'stem.conv' is not there any more in the deployed graph" in refusal.message
    assert "cuts near it: stem.relu" in refusal.message or "cuts near it: stem.norm" in refusal.message
    assert "inspecting the model without naming blocks lists" in refusal.message
    (refusal,) = examine(small_model, blocks=["stem.rely"]).refusals
    assert "no tensor 'stem.rely'; close: stem.relu" in refusal.message
    assert "inspecting the model without naming blocks lists" in refusal.message


def test_residual(network):
    def build(op, x):
        x = op.relu_conv(x, 3, 4, s=2, name="stem")
        x = op.pool(x, 3, pads=[1] * 4)
        x = op.Relu(op.Add(x, op.conv(op.relu_conv(x, 4, 4), 4, 4)), names=["one"])
        y = op.conv(op.relu_conv(x, 4, 8, s=2, name="inner"), 8, 8)
        x = op.Relu(op.Add(y, op.conv(x, 4, 8, k=1, s=2)), names=["two"])
        x = op.Relu(op.Add(x, op.conv(x, 8, 8)), names=["three"])
        return op.head(x, 8)

    net = network(build)
    assert found(net) == [("stem", 4, 16, 16), ("one", 4, 8, 8), ("three", 8, 4, 4)]
    blocks = named_blocks(net, ["three", "two", "stem"], {})
    assert [(block.name, block.tensor) for block in blocks] == [
        ("block1", "stem"),
        ("block2", "two"),
        ("block3", "three"),
    ]
    with pytest.raises(ModelError) as caught:
        named_blocks(net, ["inner"], {})
    assert "'inner' is no cut, as information also flows past it through " in str(caught.value)
    assert "cuts near it: " in str(caught.value)
    with pytest.raises(ModelError, match="no tensor 'thre'; close: three"):
        named_blocks(net, ["thre"], {})
    with pytest.raises(ModelError, match=r"no tensor 'x_y_z'; cuts are .*three; inspecting"):
        named_blocks(net, ["x_y_z"], {})
    with pytest.raises(ModelError, match="two names stand for one tensor: two, layer2"):
        named_blocks(net, ["two", "layer2"], {"layer2": "two"})
    flat = next(node.output[0] for node in net.graph.nodes if node.op_type == "Flatten")
    with pytest.raises(ModelError, match=r"has shape \(\?, 8\), where \(N, K, h, w\) is needed"):
        named_blocks(net, [flat], {})
    mean = next(node.output[0] for node in net.graph.nodes if node.op_type == "GlobalAveragePool")
    with pytest.raises(ModelError, match="single position"):
        named_blocks(net, [mean], {})


def test_unpadded_convolutions_stay_in_their_block(network):
    def build(op, x):
        x = op.relu_conv(x, 3, 4, s=2, pad=0, name="a149")
        x = op.relu_conv(x, 4, 4, pad=0, name="a147")
        x = op.relu_conv(op.pool(x, 3), 4, 6, pad=0, name="b71")
        x = op.relu_conv(x, 6, 6, pad=2, name="b73")  # a pad may make it grow
        x = op.relu_conv(x, 6, 6, pad=0, name="b71_again")
        x = op.relu_conv(op.pool(x, 3), 6, 8, name="c35")
        return op.head(x, 8)

    net = network(build, 299)
    assert found(net) == [("a147", 4, 147, 147), ("b71_again", 6, 71, 71), ("c35", 8, 35, 35)]


def test_pooled_maps_of_a_block_are_no_block(network):
    def build(op, x):
        x = op.relu_conv(x, 3, 4, name="one")
        x = op.relu_conv(op.pool(x), 4, 6, name="two")
        x = op.relu_conv(op.pool(x), 6, 8, name="three")
        x = op.Flatten(op.pool(x, names=["pooled"]))
        return op.Gemm(x, op.constant(rng.standard_normal((128, 5))))

    net = network(build)
    assert found(net) == [("one", 4, 32, 32), ("two", 6, 16, 16), ("three", 8, 8, 8)]
    assert [block.tensor for block in named_blocks(net, ["one", "pooled"], {})] == ["one", "pooled"]


def test_last_convolution_may_be_the_classifier(network):
    def build(op, x):
        x = op.relu_conv(x, 3, 4, s=2, name="one")
        left, right = op.relu_conv(x, 4, 4, k=1), op.relu_conv(x, 4, 4)
        x = op.Concat(left, right, axis=1, names=["fire"])
        x = op.Dropout(x)
        x = op.relu_conv(x, 8, 5, k=1, name="class_maps")
        return op.Flatten(op.GlobalAveragePool(x))

    net = network(build)
    assert found(net) == [("fire", 8, 16, 16)]
    with pytest.raises(ModelError, match="'class_maps' has no weight layer behind it"):
        named_blocks(net, ["class_maps"], {})


def test_concatenations(network):
    def build(op, x):
        x = op.relu_conv(x, 3, 4, s=2, name="stem")
        for i in range(2):
            x = op.Concat(x, op.relu_conv(x, 4 + 2 * i, 2), axis=1, names=[f"dense{i}"])
        x = op.AveragePool(op.relu_conv(x, 8, 6, k=1), kernel_shape=[2, 2], strides=[2, 2], names=["down"])
        pooled = op.MaxPool(x, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
        x = op.Concat(op.relu_conv(x, 6, 3, k=1), op.relu_conv(x, 6, 4), op.conv(pooled, 6, 2, k=1), axis=1,
                      names=["inception"])  # fmt: skip
        return op.head(x, 9)

    net = network(build)
    assert [(k, h) for _, k, h, _ in found(net)] == [(6, 16), (9, 8)]
    assert found(net)[-1][0] == "inception"


def test_squeeze_and_excitation(network):
    def build(op, x):
        x = op.relu_conv(x, 3, 8, s=2, name="stem")
        gate = op.Sigmoid(op.conv(op.relu_conv(op.GlobalAveragePool(x), 8, 2, k=1), 2, 8, k=1))
        x = op.Mul(x, gate, names=["gated"])
        return op.head(op.relu_conv(x, 8, 8, s=2, name="last"), 8)

    assert found(network(build)) == [("gated", 8, 16, 16), ("last", 8, 8, 8)]


def test_isotropic_network_has_one_block(network):
    def build(op, x):
        x = op.relu_conv(x, 3, 8, k=4, s=4, pad=0)
        for i in range(3):
            x = op.Add(x, op.relu_conv(x, 8, 8), names=[f"mix{i}"])
        return op.head(x, 8)

    assert found(network(build)) == [("mix2", 8, 8, 8)]


def attention(op, x, channels):
    q, k, v = (op.linear(x, channels, channels) for _ in range(3))
    weights = op.Softmax(op.MatMul(q, op.Transpose(k, perm=[0, 2, 1])))
    return op.Add(x, op.MatMul(weights, v))


def test_transformer_is_refused(network):
    def build(op, x):
        x = op.conv(x, 3, 8, k=8, s=8, pad=0)
        x = op.Transpose(op.Reshape(x, op.constant([0, 8, 16])), perm=[0, 2, 1])
        for _ in range(3):
            x = attention(op, x, 8)
            x = op.Add(x, op.linear(op.Relu(op.linear(x, 8, 16)), 16, 8))
        return op.linear(op.ReduceMean(x, op.constant([1]), keepdims=0), 8, 5)

    with pytest.raises(ModelError, match=r"1 weight layer before it and 16 behind .* vision transformers"):
        find_blocks(network(build))


def test_maps_with_channels_last(network):
    def build(op, x):
        x = op.relu_conv(x, 3, 6, k=4, s=4, pad=0, name="stem")
        x = op.Transpose(x, perm=[0, 2, 3, 1], names=["last"])
        x = op.Add(x, op.Relu(op.linear(x, 6, 6)), names=["mixed"])
        return op.linear(op.ReduceMean(x, op.constant([1, 2]), keepdims=0), 6, 5)

    net = network(build)
    assert found(net) == [("mixed", 6, 8, 8)]
    (block,) = named_blocks(net, ["last"], {})
    assert (block.channels, block.height, block.width) == (6, 8, 8)
    assert net.notes == ["one block: the resolution drops only once, before 'mixed'"]


def test_a_padded_copy_is_no_block(network):
    def build(op, x):
        x = op.relu_conv(x, 3, 4, name="features")
        x = op.Pad(x, op.constant([0, 0, 0, 0, 0, 0, 1, 1]), names=["padded"], mode="reflect")
        return op.head(op.relu_conv(x, 4, 8, s=2, pad=0, name="second"), 8)

    net = network(build)
    assert found(net) == [("features", 4, 32, 32), ("second", 8, 16, 16)]
    with pytest.raises(ModelError, match="'padded' is 'features' with a border"):
        named_blocks(net, ["padded"], {})


def test_an_axis_that_may_or_may_not_be_the_channels_is_not_guessed(network):
    def build(op, x):
        x = op.relu_conv(x, 3, 6, k=4, s=4, pad=0, name="stem")
        x = op.Reshape(x, op.constant(np.array([0, 8, 6, 8])), names=["odd"])
        return op.linear(op.Flatten(op.Relu(x, names=["rectified"])), 384, 5)

    net = network(build)
    assert found(net) == [("stem", 6, 8, 8)]
    with pytest.raises(ModelError, match=r"'rectified' has shape .* no axis is known to be the channels'"):
        named_blocks(net, ["rectified"], {})


def test_permutations_inside_a_residual_branch_leave_the_maps_as_they_are(network):
    """As in ConvNeXt, whose residual stream ONNX Runtime would rather keep with its channels last."""

    def build(op, x):
        x = op.Relu(op.conv(x, 3, 6, k=4, s=4, pad=0))
        for i in range(3):
            y = op.Transpose(op.conv(x, 6, 6), perm=[0, 2, 3, 1])
            y = op.linear(op.Relu(op.linear(y, 6, 12)), 12, 6)
            x = op.Add(x, op.Transpose(y, perm=[0, 3, 1, 2]), names=[f"stage{i}"])
        return op.head(x, 6)

    assert found(network(build)) == [("stage2", 6, 8, 8)]


def test_no_cut_at_all(network):
    with pytest.raises(ModelError, match="no usable cut: nowhere between"):
        find_blocks(
            network(lambda op, x: op.Gemm(op.Flatten(x), op.constant(rng.standard_normal((3072, 5)))))
        )


def test_the_picture_itself_is_no_block(network):
    def build(op, x):
        return op.head(op.relu_conv(op.Mul(x, op.constant(2.0), names=["scaled"]), 3, 4, name="features"), 4)

    net = network(build)
    assert found(net) == [("features", 4, 32, 32)]
    with pytest.raises(ModelError, match="'scaled' has no weight layer before it: it is the picture itself"):
        named_blocks(net, ["scaled"], {})


def test_vgg16(network):
    def build(op, x):
        channels = 3
        for width, depth in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(depth):
                x, channels = op.relu_conv(x, channels, width), width
            x = op.pool(x)
        return op.linear(op.Relu(op.linear(op.Flatten(x), 2048, 16)), 16, 5)

    blocks = find_blocks(network(build, 64))
    assert [block.channels for block in blocks] == [64, 128, 256, 512, 512]
    assert [block.height for block in blocks] == [64, 32, 16, 8, 4]


def test_resnet18_of_torchvision_and_its_module_names(torchvision, tmp_path):
    torch = pytest.importorskip("torch")
    from sise_rt.export.intake.from_torch import to_onnx

    path, modules, *_ = to_onnx(torchvision.models.resnet18(), torch.randn(1, 3, 64, 64), tmp_path)
    source = onnx.load(path)
    net = canonical(source, tmp_path, interface(source), (3, 64, 64), None)
    blocks = find_blocks(net)
    assert [block.channels for block in blocks] == [64, 64, 128, 256, 512]
    assert named_blocks(net, ["relu", "layer1", "layer2", "layer3", "layer4"], modules) == blocks
    assert [block.height for block in named_blocks(net, ["layer4.0", "layer3"], modules)] == [4, 2]
    with pytest.raises(ModelError, match=r"'layer3\.0\.bn1' is no cut"):
        named_blocks(net, ["layer3.0.bn1"], modules)
    with pytest.raises(ModelError) as caught:
        named_blocks(net, ["conv1"], modules)
    assert str(caught.value) == (
        "the output of module 'conv1' is no tensor of the deployed graph, as it is fused with its "
        "neighbours or does nothing there; cuts near it: bn1, relu, maxpool (see blocks)"
    )


def test_an_input_that_is_too_small_is_no_transformer(network):
    def build(op, x, channels=8):
        x = op.relu_conv(x, 3, channels, s=2)
        for _ in range(3):
            x = op.relu_conv(x, channels, channels)
        return op.head(op.relu_conv(op.relu_conv(x, channels, 16, s=2), 16, 16), 16)

    assert len(find_blocks(network(build, size=8))) == 2
    for size in (1, 2):  # without any map, and with all but one layer behind the last one
        with pytest.raises(ModelError) as refused:
            find_blocks(network(lambda op, x: build(op, op.relu_conv(x, 3, 3)), size=size))
        says = (
            f"an input of {size}x{size} pixels is too small for this model: its maps have a single position"
        )
        assert refused.value.message.startswith(says)
        assert "a convolution of 3x3: choose a larger input size" in refused.value.message
        assert refused.value.settings == ("input_size",)
