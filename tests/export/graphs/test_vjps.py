"""The graphs for the methods beside SISE, against torch autograd."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

torch = pytest.importorskip("torch")
from sise_rt.export import export  # noqa: E402
from sise_rt.export.ir.builder import Builder  # noqa: E402

import sise_rt  # noqa: E402
from sise_rt.errors import BundleError  # noqa: E402

SIZE, CLASSES = 20, 4


def network(classes=CLASSES):
    """Two blocks of 6 and 10 maps, and a head, both in torch."""
    torch.manual_seed(3)
    nn = torch.nn
    features = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 10, 3, stride=2, padding=1),
        nn.Tanh(),
    )
    head = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(10, 12), nn.SiLU(), nn.Linear(12, classes)
    )
    return nn.Sequential(features, head).eval()


def autograd(net, images, cotangents):
    """Logits, the last block's maps, and the gradients at the maps and the images, in float64."""
    net = net.double()
    x = torch.tensor(images, dtype=torch.float64, requires_grad=True)
    maps = net[0](x)
    logits = net[1](maps)
    total = (logits * torch.tensor(cotangents, dtype=torch.float64)).sum()
    at_maps, at_images = torch.autograd.grad(total, [maps, x])
    return [value.detach().numpy() for value in (logits, maps, at_maps, at_images)]


def as_onnx(net, path, *, stem=None, shape=("N", 3, SIZE, SIZE), element=TensorProto.FLOAT):
    """The same network written as ONNX by hand, behind what `stem(op, x)` adds."""
    op = Builder("t_", {}, {}, np.float32)

    def constants(layer):
        return [
            op.constant(value.detach().numpy().astype(np.float32)) for value in (layer.weight, layer.bias)
        ]

    x = stem(op, "x") if stem else "x"
    first, _, last, _ = net[0]
    x = op.Relu(op.Conv(x, *constants(first), strides=[2, 2], pads=[1] * 4))
    x = op.Tanh(op.Conv(x, *constants(last), strides=[2, 2], pads=[1] * 4))
    x = op.Gemm(op.Flatten(op.GlobalAveragePool(x)), *constants(net[1][2]), transB=1)
    x = op.Gemm(op.Mul(x, op.Sigmoid(x)), *constants(net[1][4]), transB=1)
    graph = helper.make_graph(
        op.nodes,
        "g",
        [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in op.constants.items()],
    )
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torch")
    return sise_rt.load(
        export(network(), folder / "net.sise", example=torch.randn(1, 3, SIZE, SIZE)).path
    ).engine


def made(images, count=3, classes=CLASSES, seed=0):
    rng = np.random.default_rng(seed)
    shape = (count, 3, SIZE, SIZE)
    pictures = rng.integers(0, 256, shape) if images == "pixels" else rng.standard_normal(shape)
    return pictures.astype(np.float32), rng.standard_normal((count, classes)).astype(np.float32)


def close(found, expected):
    """Equal to a share of the largest value, and not because both are zero."""
    assert np.abs(expected).max() > 1e-6
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("count", [1, 3])
def test_all_three_graphs(engine, count):
    images, cotangents = made("floats", count)
    logits, maps, at_maps, at_images = autograd(network(), images, cotangents)
    close(engine.forward(images), logits)
    found_maps, found_gradient, found_logits = engine.last_block_gradient(images, cotangents)
    for found, expected in ((found_maps, maps), (found_gradient, at_maps), (found_logits, logits)):
        close(found, expected)
    found_gradient, found_logits = engine.image_gradient(images, cotangents)
    close(found_gradient, at_images)
    close(found_logits, logits)


def test_cotangents_are_weights(engine):
    """The gradient is linear in them, image by image; without any it is zero."""
    images, cotangents = made("floats")
    single = [
        engine.image_gradient(images, np.tile(row, (3, 1)).astype(np.float32))[0] for row in np.eye(CLASSES)
    ]
    combined = np.einsum("nc,cnijk->nijk", cotangents, np.stack(single))
    close(engine.image_gradient(images, cotangents)[0], combined)
    cotangents[1] = 0
    gradient = engine.image_gradient(images, cotangents)[0]
    assert gradient[0].any()
    assert not gradient[1].any()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_whole_pixels(tmp_path, layout):
    """The gradient is that of the pixels as floats, channels first whatever the model takes."""
    net = network()

    def stem(op, x):
        x = op.Div(op.Cast(x, to=TensorProto.FLOAT), op.constant(np.float32(255)))
        return x if layout == "NCHW" else op.Transpose(x, perm=[0, 3, 1, 2])

    shape = ("N", 3, SIZE, SIZE) if layout == "NCHW" else ("N", SIZE, SIZE, 3)
    path = as_onnx(net, tmp_path / "m.onnx", stem=stem, shape=shape, element=TensorProto.UINT8)
    engine = sise_rt.load(export(path, tmp_path / "m.sise").path).engine
    images, cotangents = made("pixels")
    logits, _, at_maps, at_images = autograd(net, images / 255, cotangents)
    gradient, found = engine.image_gradient(images, cotangents)
    close(found, logits)
    close(gradient, at_images / 255)
    close(engine.last_block_gradient(images, cotangents)[1], at_maps)


def test_one_logit_is_two_classes(tmp_path):
    """The other class has the negative logit, and the opposite gradient."""
    net = network(classes=1)
    path = as_onnx(net, tmp_path / "m.onnx")
    engine = sise_rt.load(export(path, tmp_path / "m.sise", activation="sigmoid").path).engine
    assert engine.manifest.classes == 2
    images, cotangents = made("floats", classes=2)
    sign = engine.forward(images)[:, :1] / autograd(net, images, np.ones((3, 1)))[0]
    assert np.allclose(sign, sign[0], atol=1e-4)
    assert np.isclose(abs(sign[0]), 1, atol=1e-4)
    weight = (cotangents[:, :1] - cotangents[:, 1:]) * np.sign(sign[0])
    logits, _, at_maps, at_images = autograd(net, images, weight)
    close(engine.forward(images), np.hstack([logits, -logits]) * np.sign(sign[0]))
    close(engine.image_gradient(images, cotangents)[0], at_images)
    close(engine.last_block_gradient(images, cotangents)[1], at_maps)


def test_an_operator_without_a_rule_in_front(tmp_path):
    """The image has no gradient, which a note and the error at the use say; the last block has its own."""
    net = network()

    def stem(op, x):
        return op.Mod(x, op.constant(np.float32(64)), fmod=1)  # changes nothing here, and has no rule

    path = as_onnx(net, tmp_path / "m.onnx", stem=stem)
    report = export(path, tmp_path / "m.sise")
    (note,) = [line for line in report.notes if "integrated gradients" in line]
    assert "Mod" in note
    assert not report.manifest.graphs.image_gradient
    assert not (report.path / "image_gradient.onnx").exists()
    explainer = sise_rt.load(report.path)
    images, cotangents = made("floats")
    _, _, at_maps, _ = autograd(net, images, cotangents)
    close(explainer.engine.last_block_gradient(images, cotangents)[1], at_maps)
    with pytest.raises(BundleError, match="no graph 'image_gradient'"):
        explainer.engine.image_gradient(images, cotangents)
    picture = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    assert explainer.explain(picture, target=1, method="sise").map.any()
    for method in ("integrated-gradients", "extremal-perturbation"):
        with pytest.raises(BundleError, match="no graph 'image_gradient'"):
            explainer.explain(picture, target=1, method=method)


def test_weights_are_stored_once(engine):
    """The further graphs point into the same file."""
    folder = engine.folder
    for name in ("forward", "last_block_gradient", "image_gradient"):
        model = onnx.load(folder / engine.sessions.specs[name].path, load_external_data=False)
        places = {
            entry.value
            for w in model.graph.initializer
            for entry in w.external_data
            if entry.key == "location"
        }
        assert places == {"weights.bin"}
