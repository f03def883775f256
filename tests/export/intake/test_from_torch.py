"""Weights, modules and autograd."""

import pickle
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional

from sise_rt.export.intake import from_torch, torch_weights  # noqa: E402
from sise_rt.export.proof import autograd  # noqa: E402

from sise_rt.errors import ModelError  # noqa: E402


class Net(nn.Module):
    """In-place activations, grouped convolutions, a shared ReLU and dropout."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.relu = nn.ReLU(inplace=True)
        self.grouped = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4)
        self.last = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(12, 5)

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.relu(self.grouped(x).add_(x[:, :, ::2, ::2]))
        x = self.relu(self.last(x))
        return self.head(self.drop(x.mean((2, 3))))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    model = Net()
    model.stem.train()
    model.drop.eval()
    return model


def run(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]


def test_module_is_exported_and_left_as_it_was(net, tmp_path):
    before = torch_weights.fingerprint(net)
    modes = [module.training for module in net.modules()]
    path, modules, program, *_ = from_torch.to_onnx(net, torch.randn(1, 3, 16, 16), tmp_path)
    images = torch.randn(3, 3, 16, 16)
    found, maps, gradients = autograd.autograd_reference(
        program, images.numpy(), 2, "softmax", None, [modules["last"]]
    )
    assert [module.training for module in net.modules()] == modes
    assert torch_weights.fingerprint(net) == before
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert not any(p.grad is not None for p in net.parameters())
    assert {"stem", "grouped", "last", "head"} <= modules.keys()
    produced = {name for node in onnx.load(path).graph.node for name in node.output}
    assert set(modules.values()) - {""} <= produced
    assert modules["drop"] == ""
    with torch.no_grad():
        expected = _evaluated(net)(images)
    np.testing.assert_allclose(run(path, images), expected, 1e-5, 1e-5)
    np.testing.assert_allclose(found, expected, 1e-5, 1e-5)
    assert maps[modules["last"]].shape == (3, 12, 4, 4)
    assert gradients[modules["last"]].shape == (3, 12, 4, 4)


def _evaluated(net):
    copy = Net()
    copy.load_state_dict(net.state_dict())
    return copy.eval()


def test_the_tracing_exporter_takes_over(net, tmp_path, monkeypatch):
    export = torch.onnx.export

    def failing(*args, dynamo, **options):
        if dynamo:
            raise RuntimeError("not today")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return export(*args, dynamo=False, **options)

    monkeypatch.setattr(torch.onnx, "export", failing)
    path, modules, program, *_ = from_torch.to_onnx(net, torch.randn(2, 3, 16, 16), tmp_path)
    assert (modules, program) == ({}, None)
    images = torch.randn(1, 3, 16, 16)
    np.testing.assert_allclose(run(path, images), _evaluated(net)(images).detach(), 1e-5, 1e-5)
    assert net.stem.training

    def always(*args, **options):
        raise RuntimeError("never\nagain")

    monkeypatch.setattr(torch.onnx, "export", always)
    with pytest.raises(ModelError, match="to ONNX: never; the tracing exporter: never"):
        from_torch.to_onnx(net, torch.randn(1, 3, 16, 16), tmp_path)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_log_odds_are_the_logit_of_the_probability(activation, classes):
    z = torch.randn(3, classes, dtype=torch.float64)
    if classes == 1:
        if activation == "softmax":
            return
        p = torch.cat([1 - z.sigmoid(), z.sigmoid()], 1)
    else:
        p = z.softmax(1) if activation == "softmax" else z.sigmoid()
    for target in range(p.shape[1]):
        torch.testing.assert_close(autograd.log_odds(z, target, activation), p[:, target].logit())


# ---------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("kind", ["safetensors", "npz", "pth", "pt", "checkpoint", "parallel"])
def test_every_kind_of_weight_file(net, tmp_path, kind):
    state = {name: value.clone() for name, value in net.state_dict().items()}
    path = tmp_path / f"w.{kind if kind in ('safetensors', 'npz', 'pt') else 'pth'}"
    if kind == "safetensors":
        pytest.importorskip("safetensors.torch").save_file(state, path)
    elif kind == "npz":
        np.savez(path, **{name: value.half().numpy() for name, value in state.items()})
    elif kind == "checkpoint":
        torch.save({"epoch": 3, "state_dict": state}, path)
    else:
        torch.save({f"module.{k}" if kind == "parallel" else k: v for k, v in state.items()}, path)
    model = Net()
    torch_weights.load_weights(model, torch_weights.read_weights(path), str(path))
    for name, value in model.state_dict().items():
        assert value.dtype == state[name].dtype
        torch.testing.assert_close(value, state[name], rtol=1e-3, atol=1e-3)


class Evil:
    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


def test_files_that_are_no_weights(tmp_path):
    def refused(path):
        with pytest.raises(ModelError) as caught:
            torch_weights.read_weights(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    evil = tmp_path / "evil.pth"
    evil.write_bytes(pickle.dumps({"weight": Evil()}, protocol=2))
    assert "evil.pth cannot be read as weights" in refused(evil)
    torch.save({"weight": Evil()}, evil)
    assert "evil.pth cannot be read as weights" in refused(evil)
    np.savez(tmp_path / "objects.npz", weight=np.array([Evil()], object))
    assert "objects.npz cannot be read" in refused(tmp_path / "objects.npz")
    torch.save({"weight": [1, 2]}, tmp_path / "lists.pth")
    assert "lists.pth holds no state dict of tensors" in refused(tmp_path / "lists.pth")
    for name in ("a.safetensors", "a.npz", "a.pth"):
        (tmp_path / name).write_bytes(b"damaged")
        assert f"{name} cannot be read as weights" in refused(tmp_path / name)
    (tmp_path / "a.h5").write_bytes(b"")
    assert "unknown kind of weight file; known are .safetensors" in refused(tmp_path / "a.h5")
    assert "no weight file" in refused(tmp_path / "missing.pth")
    assert "no weight file" in refused(tmp_path)


def test_weights_that_do_not_fit(net):
    state = dict(net.state_dict())
    state["head.weight"] = torch.zeros(5, 13)
    state["surplus"] = torch.zeros(1)
    del state["last.bias"], state["stem.1.num_batches_tracked"]
    with pytest.raises(ModelError) as caught:
        torch_weights.load_weights(Net(), state, "w.pth")
    assert str(caught.value) == (
        "the weights in w.pth do not fit the model: 1 missing (last.bias); 1 unknown (surplus); "
        "1 of another shape (head.weight (5, 13) for (5, 12))"
    )
    with pytest.raises(ModelError, match=r"19 missing \(.*, \.\.\.\)|\d+ missing"):
        torch_weights.load_weights(Net(), {}, "w.pth")
    bad = dict(net.state_dict()) | {"head.bias": torch.full((5,), float("nan"))}
    with pytest.raises(ModelError, match=r"not finite: head\.bias"):
        torch_weights.load_weights(Net(), bad, "w.pth")


def test_batch_norm_counters_may_be_missing(net):
    state = {k: v for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    other = Net()
    torch_weights.load_weights(other, state, "w.npz")
    assert all(torch.equal(value, state[name]) for name, value in other.state_dict().items() if name in state)


def test_fine_tuned_class_count(torchvision, tmp_path):
    tuned = torchvision.models.resnet18(num_classes=5)
    torch.save(tuned.state_dict(), tmp_path / "tuned.pth")
    model, description = from_torch.torchvision_model("resnet18", str(tmp_path / "tuned.pth"))
    assert model.fc.out_features == 5
    torch.testing.assert_close(model.fc.weight, tuned.fc.weight)
    assert description.of_other_weights
    assert description.value("input_size") == (3, 224, 224)
    with pytest.raises(ModelError, match="do not fit the model"):
        from_torch.torchvision_model("resnet34", str(tmp_path / "tuned.pth"))


def test_timm(tmp_path, torchvision):
    timm = pytest.importorskip("timm")
    tuned = timm.create_model("resnet10t", num_classes=4)
    torch.save(tuned.state_dict(), tmp_path / "tuned.pth")
    model, description = from_torch.timm_model("resnet10t", str(tmp_path / "tuned.pth"))
    assert model.get_classifier().out_features == 4
    assert description.of_other_weights
    assert description.said["mean"].file == "timm resnet10t"
    assert len(description.value("mean")) == 3


def test_fingerprint_is_of_the_weights(net):
    again = _evaluated(net)
    assert torch_weights.fingerprint(again) == torch_weights.fingerprint(net)
    with torch.no_grad():
        again.head.bias[0] += 1
    assert torch_weights.fingerprint(again) != torch_weights.fingerprint(net)
