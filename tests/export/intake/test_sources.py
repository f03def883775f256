"""Opening whatever the user names; most of it is refusing what cannot be opened, in one clear line."""

import hashlib
import importlib
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from sise_rt.export.intake.sources import _example_size, open_source
from sise_rt.export.origins.description import Description

from sise_rt.errors import ArgumentError, ModelError


def refused(source, folder, error=ModelError, **options):
    with pytest.raises(error) as caught:
        open_source(source, folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_onnx_file(small_model, tmp_path):
    opened = open_source(small_model, tmp_path)
    assert (opened.format, opened.name) == ("onnx", "small")
    assert opened.sha256 == hashlib.sha256(small_model.read_bytes()).hexdigest()
    assert (opened.ends.image, opened.ends.output, opened.ends.image_size) == ("input", "scores", (3, 32, 32))
    assert (opened.description.said, opened.description.unsettled) == ({}, [])


def test_metadata_and_producer_of_a_file(small_model, tmp_path):
    model = onnx.load(small_model)
    model.producer_name, model.producer_version = "maker", "1.2"
    model.metadata_props.add(key="names", value="{0: 'a', 1: 'b'}")
    onnx.save(model, tmp_path / "m.onnx")
    opened = open_source(str(tmp_path / "m.onnx"), tmp_path)
    assert opened.producer == "maker 1.2"
    assert opened.description.said["labels"] == (["a", "b"], "the model's metadata", "names")


def test_external_weights(small_model, tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(onnx.load(small_model), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    opened = open_source(path, tmp_path)
    weights = {w.name: numpy_helper.to_array(w, str(tmp_path)) for w in opened.model.graph.initializer}
    for tensor in onnx.load(small_model).graph.initializer:
        np.testing.assert_array_equal(weights[tensor.name], numpy_helper.to_array(tensor))
    data = (tmp_path / "w.bin").read_bytes()
    (tmp_path / "w.bin").write_bytes(data[:100])
    assert "m.onnx" in refused(path, tmp_path)
    (tmp_path / "w.bin").unlink()
    assert "external weights cannot be loaded" in refused(path, tmp_path)


def test_external_weights_outside_the_folder(small_model, tmp_path):
    folder = tmp_path / "inner"
    folder.mkdir()
    path = folder / "m.onnx"
    onnx.save(onnx.load(small_model), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (folder / "w.bin").rename(tmp_path / "w.bin")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../w.bin"
    onnx.save(model, path)
    assert "external weights cannot be loaded" in refused(path, tmp_path)


def test_files_that_are_no_model(small_model, tmp_path):
    data = small_model.read_bytes()
    kinds = {
        "truncated": data[: len(data) // 2],
        "empty": b"",
        "text": b"this is no model\n" * 20,
        "zeros": bytes(1000),
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    }
    for name, content in kinds.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        message = refused(path, tmp_path)
        assert f"{name}.onnx is no ONNX model" in message, message
    (tmp_path / "folder.onnx").mkdir()
    assert "no such model file" in refused(tmp_path / "folder.onnx", tmp_path)
    assert "no such model file" in refused(tmp_path / "missing.onnx", tmp_path)
    assert "a source is model.onnx, the folder of a published model, torchvision:NAME" in refused(
        tmp_path / "missing", tmp_path
    )
    text = tmp_path / "model.txt"
    text.write_text("hello")
    assert "model.txt is no ONNX model" in refused(text, tmp_path)


def test_weights_that_are_not_numbers(small_model, tmp_path):
    model = onnx.load(small_model)
    tensor = next(w for w in model.graph.initializer if w.name == "a.conv1.weight")
    value = numpy_helper.to_array(tensor).copy()
    value[0, 0, 0, 0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    onnx.save(model, tmp_path / "nan.onnx")
    assert "weight 'a.conv1.weight' holds NaN" in refused(tmp_path / "nan.onnx", tmp_path)
    tensor.raw_data = tensor.raw_data[:-4]
    onnx.save(model, tmp_path / "short.onnx")
    assert "weight 'a.conv1.weight' is damaged" in refused(tmp_path / "short.onnx", tmp_path)


def test_options_that_do_not_go_together(small_model, tmp_path):
    message = refused(small_model, tmp_path, ArgumentError, weights="DEFAULT")
    assert "a model file or folder holds its own (see weights)" in message
    assert "no output 'other'" in refused(small_model, tmp_path, output="other")


def test_names_that_lead_nowhere(torchvision, tmp_path, monkeypatch):
    assert "torchvision:resnet18 needs weights" in refused("torchvision:resnet18", tmp_path, ArgumentError)
    assert "no classifier 'resnet19'" in refused("torchvision:resnet19", tmp_path, weights="none")
    pytest.importorskip("timm")
    assert "timm:resnet18 needs weights" in refused("timm:resnet18", tmp_path, ArgumentError)
    assert "timm has no model 'resnet'; close: " in refused("timm:resnet", tmp_path, weights="none")
    assert "cannot import 'no_such_package'" in refused("no_such_package:build", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "factories_in_test.py").write_text(
        "def number():\n    return 3\n\ndef broken():\n    return 1 / 0\n\nvalue = 3\n"
    )
    assert "has no 'build'" in refused("factories_in_test:build", tmp_path)
    assert "returned int, where a function without arguments that returns a torch.nn.Module" in refused(
        "factories_in_test:number", tmp_path
    )
    assert "ZeroDivisionError" in refused("factories_in_test:broken", tmp_path)
    assert "factories_in_test:value is of type int, where a function" in refused(
        "factories_in_test:value", tmp_path
    )
    message = refused("json:dumps", tmp_path)
    assert message.startswith("json:dumps raised TypeError: dumps() missing 1 required")
    assert message.endswith("; a function without arguments that returns a torch.nn.Module is needed")
    del sys.modules["factories_in_test"]
    assert "cannot import '' of ':factory': ValueError: Empty module name" in refused(":factory", tmp_path)
    assert "cannot import '.models' of '.models:make': TypeError" in refused(".models:make", tmp_path)
    for statement, words in (
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import sys; sys.nothing", "AttributeError"),
        ("(", "SyntaxError"),
    ):
        (tmp_path / "broken_in_test.py").write_text(statement)
        importlib.invalidate_caches()
        message = refused("broken_in_test:make", tmp_path)
        assert f"cannot import 'broken_in_test' of 'broken_in_test:make': {words}" in message
    message = refused("factories_in_test:number", tmp_path, ArgumentError, weights="none")
    assert "leave the weights out, or give a file (see weights)" in message


def test_a_factory_in_the_current_folder(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here_in_test.py").write_text(
        "from torch import nn\n\ndef make():\n    return nn.Sequential(nn.Conv2d(3, 4, 3))\n"
    )
    (tmp_path / "json.py").write_text("raise RuntimeError('this is not the json of the standard library')")
    opened = open_source("here_in_test:make", tmp_path, size=(16, 16))
    assert sys.path[-1] == ""
    assert (opened.format, opened.name) == ("torch", "make")
    assert (opened.assumed, opened.warnings) == ([], [])
    del sys.modules["here_in_test"]
    message = refused(torch.nn.Conv2d(3, 4, 3), tmp_path, ArgumentError, weights="none")
    assert "load them into the module instead (see weights)" in message


def test_what_is_assumed_of_a_torch_model_is_said(torchvision, tmp_path):
    opened = open_source("torchvision:resnet18", tmp_path, weights="none")
    assert opened.assumed == [
        "input size 224x224, as for torchvision ResNet18_Weights.IMAGENET1K_V1",
        *opened.warnings,
    ]
    assert opened.warnings[0].startswith("WEIGHTS ARE RANDOM")
    assert opened.ends.image_size == (3, 224, 224)


def test_example_sizes():
    torch = pytest.importorskip("torch")
    conv = torch.nn.Conv2d(5, 4, 3)
    assert _example_size(conv, Description(), None) == ((5, 224, 224), "input size 224x224")
    assert _example_size(conv, Description(), (32, 48)) == ((5, 32, 48), None)
    described = Description.of("timm abc", input_size=(3, 64, 96))
    assert _example_size(torch.nn.Linear(3, 4), described, None) == ((3, 64, 96), None)
    described.of_other_weights = True
    assert _example_size(conv, described, None) == ((3, 64, 96), "input size 64x96, as for timm abc")
    assert _example_size(conv, described, (32, 48)) == ((3, 32, 48), None)
    with pytest.raises(ModelError, match="300000x300000 pixels"):
        _example_size(conv, Description(), (300_000, 300_000))


def test_modules_and_examples_that_do_not_fit(tmp_path):
    torch = pytest.importorskip("torch")
    conv = torch.nn.Conv2d(3, 4, 3)
    assert "not int" in refused(3, tmp_path, ArgumentError)
    whole, flat = torch.ones(1, 3, 8, 8).long(), torch.ones(3, 8, 8)
    message = refused(conv, tmp_path, ArgumentError, example=whole)
    assert "float images (N, C, H, W), not torch.int64" in message
    assert "float images (N, C, H, W)" in refused(conv, tmp_path, ArgumentError, example=flat)
    assert "has no torch.nn.Conv2d" in refused(torch.nn.Linear(3, 4), tmp_path)
    five = torch.ones(1, 5, 8, 8)
    assert "the module does not run on images (2, 5, 8, 8)" in refused(conv, tmp_path, example=five)


def test_a_bundle_is_no_source(small_bundle, tmp_path, monkeypatch):
    says = " is a bundle already: export the model that it was made from"
    assert refused(small_bundle, tmp_path, ArgumentError) == f"{small_bundle}{says}"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "renamed").symlink_to(small_bundle)
    assert refused("renamed", tmp_path, ArgumentError) == f"renamed{says}"
    assert refused("gone.sise", tmp_path, ArgumentError) == f"gone.sise{says}"
