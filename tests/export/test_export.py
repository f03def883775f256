"""Whole exports: of torch modules against plain autograd with hooks, of factories, and of real models."""

import subprocess
import sys
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper
from sise_rt.export import Report, export
from sise_rt.export.examine import examine

import sise_rt
from sise_rt.bundle import read_bundle
from sise_rt.errors import BundleError, ModelError, OutputError, UnsupportedOperator
from sise_rt.manifest import Compared, ImageInput
from sise_rt.pictures.placement import preprocess
from sise_rt.running.engine import Engine
from sise_rt.running.sessions import Sessions
from sise_rt.running.verify import verify

SOURCE = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, groups=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y += self.shortcut(x)
        return self.relu(y)

class Net(nn.Module):
    def __init__(self, tail=None):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = Block(8, 8, 1)
        self.layer2 = Block(8, 12, 2, groups=4)
        self.layer3 = Block(12, 16, 2)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(16, 6)
        self.tail = tail

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.pool(self.stem(x)))))
        z = self.fc(self.dropout(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)))
        return self.tail(z) if self.tail else z

def build():
    torch.manual_seed(0)
    net = Net()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.running_mean, 0.0, 0.3)
    return net

def build_with_softmax():
    net = build()
    net.tail = nn.Softmax(1)
    return net
"""


@pytest.fixture(scope="module")
def factory(tmp_path_factory):
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("package")
    (folder / "nets_in_test.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    import nets_in_test

    yield nets_in_test
    sys.path.remove(str(folder))
    del sys.modules["nets_in_test"]


@pytest.fixture(scope="module")
def torch_report(factory, tmp_path_factory):
    import torch

    net = factory.build().train()
    report = export(net, tmp_path_factory.mktemp("torch") / "net.sise", example=torch.zeros(1, 3, 64, 64))
    assert all(module.training for module in net.modules())
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    return report


def autograd(net, images, target, layers):
    """Logits, maps and gradient scores, float64, by hooks on the module."""
    import torch

    net = net.double().eval()
    maps = {}
    for layer in layers:
        getattr(net, layer).register_forward_hook(lambda _, __, y, at=layer: maps.setdefault(at, y.clone()))
    z = net(torch.from_numpy(images).double())
    others = torch.cat([z[:, :target], z[:, target + 1 :]], 1)
    odds = (z[:, target] - others.logsumexp(1)).sum()
    gradients = torch.autograd.grad(odds, [maps[layer] for layer in layers])
    return (
        z.detach().numpy(),
        [maps[layer].detach().numpy() for layer in layers],
        [g.mean((2, 3)).numpy() for g in gradients],
    )


def relative(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


LAYERS = ["stem", "layer1", "layer2", "layer3"]


def test_torch_module_equals_autograd(torch_report, factory):
    engine = Engine(Sessions(torch_report.path, read_bundle(torch_report.path), "cpu"))
    assert [(block.channels, block.height) for block in engine.manifest.blocks] == [
        (8, 32),
        (8, 16),
        (12, 8),
        (16, 4),
    ]
    images = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
    for target in (0, 5):
        maps, alphas, logits = engine.features(images, np.full(2, target))
        expected = autograd(factory.build(), images, target, LAYERS)
        assert relative(logits, expected[0]) < 1e-5
        for found, wanted in zip(maps, expected[1], strict=True):
            assert relative(found, wanted) < 1e-5
        for found, wanted in zip(alphas, expected[2], strict=True):
            assert relative(found, wanted) < 1e-4


def test_parity_of_a_torch_module(torch_report):
    parity = torch_report.manifest.parity
    assert parity.reference == "torch autograd, float64"
    assert parity.compared == Compared(maps=4, alpha=4)
    assert parity.errors["alpha"] < 1e-4


def test_manifest_of_a_torch_module(torch_report):
    manifest = read_bundle(torch_report.path)
    assert isinstance(torch_report, Report)
    assert manifest == torch_report.manifest
    assert manifest.source.format == "torch"
    assert manifest.input == ImageInput(channels=3, height=64, width=64, layout="NCHW", batch=None)
    assert any(note.startswith("activation softmax") for note in manifest.assumed)
    assert any(note.startswith("assumed: mean") for note in torch_report.notes)
    engine = Engine(Sessions(torch_report.path, manifest, "cpu"))
    assert max(verify(engine).values()) < 2e-2


def test_factory_with_softmax_weights_and_blocks(factory, tmp_path):
    import torch

    net = factory.build()
    torch.save(net.state_dict(), tmp_path / "w.pth")
    report = export(
        "nets_in_test:build_with_softmax",
        tmp_path / "n.sise",
        weights=str(tmp_path / "w.pth"),
        input_size=(48, 64),
        blocks=["layer1", "layer3"],
        labels=list("abcdef"),
        licence="MIT",
    )
    manifest = report.manifest
    assert [(b.channels, b.height, b.width) for b in manifest.blocks] == [(8, 12, 16), (16, 3, 4)]
    assert manifest.activation == "softmax"
    assert not any("activation" in note for note in manifest.assumed)
    assert (manifest.labels, manifest.licence) == (tuple("abcdef"), "MIT")
    assert manifest.parity.compared.alpha == 2
    assert manifest.parity.errors["alpha"] < 1e-4


# ---------------------------------------------------------------------------------------------- ONNX


def test_export_is_repeatable(small_model, small_bundle, tmp_path):
    again = export(small_model, tmp_path / "small.sise", labels=list("abcde")).path
    names = sorted(p.relative_to(again) for p in again.rglob("*") if p.is_file() and p.name != "parity.npz")
    for name in names:
        if name.name != "manifest.json":
            assert (again / name).read_bytes() == (small_bundle / name).read_bytes(), name


def test_files_of_a_bundle(small_bundle):
    files = sorted(p.relative_to(small_bundle).as_posix() for p in small_bundle.rglob("*") if p.is_file())
    numbered = [f"{folder}/{i:02d}.onnx" for folder in ("blocks", "heads") for i in (1, 2, 3)]
    own = ["classifier.onnx", "features.onnx", "manifest.json", "parity.npz", "score.onnx", "weights.bin"]
    own += ["forward.onnx", "last_block_gradient.onnx", "image_gradient.onnx"]
    assert files == sorted(numbered + own)


def test_interrupted_while_measuring(small_model, tmp_path, monkeypatch):
    package = sys.modules["sise_rt.export.assembly"]

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(package, "measure", stop)
    with pytest.raises(KeyboardInterrupt):
        export(small_model, tmp_path / "m.sise")
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_not_replaced(small_model, tmp_path):
    (tmp_path / "m.sise").mkdir()
    with pytest.raises(OutputError, match="exists already and is no bundle"):
        export(small_model, tmp_path / "m.sise", overwrite=True)


def without_rule(cnn, path):
    """A model with an operator that ONNX Runtime has, and the gradient table has not."""
    model = onnx.load(cnn(path))
    node = next(node for node in model.graph.node if node.name == "b.relu1")
    node.op_type, node.domain, node.name = "QuickGelu", "com.microsoft", "strange"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    return path


def test_operator_without_a_rule(cnn, tmp_path):
    path = without_rule(cnn, tmp_path / "m.onnx")
    with pytest.raises(UnsupportedOperator, match=r"no gradient rule for com\.microsoft\.QuickGelu"):
        export(path, tmp_path / "m.sise")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_without_gradients_every_map_is_kept(cnn, tmp_path):
    report = export(without_rule(cnn, tmp_path / "m.onnx"), tmp_path / "m.sise", gradients=False)
    assert not (report.path / "heads").exists()
    warning = "without gradients no map is selected: up to 36 masks are scored for an image"
    assert report.warnings == (warning,)
    assert set(report.manifest.parity.errors) == {"logits", "maps", "chain", "score", "masks"}
    explainer = sise_rt.load(report.path)
    assert set(verify(explainer.engine)) == {"logits", "maps", "chain", "score", "masks"}
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    explanation = explainer.explain(picture, target=2)
    maps = explainer.engine.features(*_tensor_of(explainer, picture))[0]
    varied = [int((np.ptp(a[0], axis=(1, 2)) > 1e-6).sum()) for a in maps]
    assert [block.kept for block in explanation.blocks] == [8, 12, 16]
    assert explanation.masks == sum(varied)
    assert explanation.warnings[0].startswith("exported without gradients: no map is selected")
    with pytest.raises(BundleError, match=r"without gradients, which sise:mu=0\.5 needs: leave mu"):
        explainer.explain(picture, mu=0.5)


def _tensor_of(explainer, picture):
    return preprocess(picture, explainer.manifest.preprocess)[0], np.zeros(1, np.int64)


def test_examining_tells_what_an_export_would_refuse(cnn, small_model, tmp_path):
    found = examine(small_model)
    assert found.refusals == ()
    assert (found.size, found.classes, found.activation) == ((3, 32, 32), 5, "softmax")
    assert [block.channels for block in found.blocks] == [8, 12, 16]
    found = examine(without_rule(cnn, tmp_path / "m.onnx"))
    operator = "com.microsoft.QuickGelu"
    (refusal,) = found.refusals
    assert refusal.message == f"no gradient rule for operator {operator} (1 node, the first is 'strange')"
    assert found.only_gradients
    (refusal,) = examine(tmp_path / "missing.onnx").refusals
    assert refusal.message == f"no such model file: {tmp_path / 'missing.onnx'}"
    model = onnx.load(small_model)
    node = next(node for node in model.graph.node if node.name == "b.conv2")
    pads = onnx.numpy_helper.from_array(np.array([0, 0, 3, 1, 0, 0, -1, 1]), "pads")
    model.graph.initializer.append(pads)
    at = list(model.graph.node).index(node)
    mirror = onnx.helper.make_node("Pad", [node.input[0], "pads"], ["m"], name="mirror", mode="reflect")
    model.graph.node.insert(at, mirror)
    node.input[0] = "m"
    next(a for a in node.attribute if a.name == "pads").ints[:] = [0] * 4
    onnx.save(model, tmp_path / "mirror.onnx")
    found = examine(tmp_path / "mirror.onnx")
    assert found.refusals[0].message.startswith("node 'mirror': Pad has no rule for negative pads")
    assert found.only_gradients
    assert "no tensor 'nowhere'" in str(examine(small_model, blocks=["nowhere"]).refusals[0])


def test_without_onnx_runtime_the_reason_is_said():
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from sise_rt.errors import ProviderError\n"
        "try:\n    import sise_rt.export.examine\n"
        "except ProviderError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert "ONNX Runtime cannot be imported" in done.stdout


def test_labels_and_sizes_that_do_not_fit_are_said_when_examining(small_model, cnn, tmp_path):
    model = onnx.load(small_model)
    model.metadata_props.add(key="names", value="{0: 'a', 7: 'b'}")
    onnx.save(model, tmp_path / "m.onnx")
    (refusal,) = examine(tmp_path / "m.onnx").refusals
    assert str(refusal) == (
        "the model's metadata: names has no label of class 1: there are 2 labels, with indices from 0 to 7 "
        "(see labels)"
    )
    assert examine(tmp_path / "m.onnx", labels=list("abcde")).refusals == ()
    free = cnn(tmp_path / "free.onnx", size=None)
    assert "300000x300000 pixels" in str(examine(free, input_size=(300_000, 300_000)).refusals[0])


def test_random_weights_are_recorded_once(torchvision, tmp_path):
    report = export("torchvision:resnet18", tmp_path / "m.sise", weights="none", input_size=(64, 64))
    line = report.warnings[0]
    assert line.startswith("WEIGHTS ARE RANDOM")
    assert report.manifest.assumed.count(line) == 1
    assert not any(line in note for note in report.notes)


# ---------------------------------------------------------------------------------------------- real models

CAFFE = {"mean": (104.0, 117.0, 123.0), "std": (1.0,), "scale": 1.0, "color": "BGR"}
KERAS = {"mean": (127.5,), "std": (127.5,), "scale": 1.0}


@pytest.mark.parametrize(
    ("name", "options", "channels", "layout"),
    [
        ("squeezenet_v1_0", {"preprocess": CAFFE, "input_size": (227, 227)}, [96, 256, 512, 512], "NCHW"),
        ("keras_mobilenetv2_nhwc", {"preprocess": KERAS}, [96, 144, 192, 576, 1280], "NHWC"),
        ("cifar_resnet20", {}, [16, 32, 64], "NCHW"),
    ],
)
def test_real_models(material, tmp_path, name, options, channels, layout):
    path = material / "models" / f"{name}.onnx"
    manifest = export(path, tmp_path / "m.sise", **options).manifest
    assert [block.channels for block in manifest.blocks] == channels
    assert manifest.input.layout == layout
    errors = manifest.parity.errors
    assert errors["logits"] < 1e-4
    assert errors["maps"] < 1e-4
    assert errors["differences"] < 2e-2
    size = sum(p.stat().st_size for p in (tmp_path / "m.sise").rglob("*"))
    assert size <= 1.02 * path.stat().st_size + 2**20


def test_the_class_of_a_real_model_is_right(material, tmp_path):
    """CIFAR's network on its own terms: the linked graph gives the file's own logits for a picture."""
    import onnxruntime

    path = material / "models" / "cifar_resnet20.onnx"
    bundle = export(path, tmp_path / "m.sise").path
    engine = Engine(Sessions(bundle, read_bundle(bundle), "cpu"))
    images = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    expected = np.concatenate([session.run(None, {name: image[None]})[0] for image in images])
    *_, logits = engine.features(images, np.zeros(3, np.int64))
    assert relative(logits, expected) < 1e-5
    assert Counter(logits.argmax(1)) == Counter(expected.argmax(1))
    with pytest.raises(ModelError, match="the model takes 32x32 pixels"):
        export(path, tmp_path / "n.sise", input_size=(64, 64))
