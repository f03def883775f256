"""The examples run as their first lines say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import sise_rt
from examples import adversarial
from sise_rt.commands.group import run as cli

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    return path


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, *map(str, arguments)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_own_onnx_model(small_model, picture, tmp_path):
    out = run("own_onnx_model.py", small_model, picture, "--target", "3", "-o", tmp_path / "out")
    assert "block3: 16 maps of 8x8 at b.relu" in out
    record = json.loads((tmp_path / "out" / "picture.3.json").read_text())
    assert record["target"]["index"] == 3
    assert min(cv2.imread(str(tmp_path / "out" / "picture.3.png")).shape[:2]) > 512


def test_own_torch_model(tmp_path):
    pytest.importorskip("torch")
    out = run("own_torch_model.py", "-o", tmp_path / "out")
    assert "picture.1.blocks.png" in out
    assert np.load(tmp_path / "out" / "picture.1.npy").shape == (64, 64)


def test_train_edda():
    pytest.importorskip("torch")
    from examples import train_edda

    done = CliRunner().invoke(train_edda.main, ["--epochs", "3"], catch_exceptions=False)
    assert "epoch 3: loss " in done.output
    assert " 0 pictures occluded" in done.output.splitlines()[0]
    assert " 0 pictures occluded" not in done.output.splitlines()[2]
    accuracy, alignment = re.search(r"accuracy ([\d.]+); alignment \+([\d.]+)", done.output).groups()
    assert float(accuracy) > 0.9
    assert float(alignment) > 0


def as_other(model, path, *, half=False, last=False):
    """The model in float16 without its pool (whose gradient the CPU has for float32 only), or taking NHWC."""
    model = onnx.load(model)
    graph = model.graph
    if last:
        for node in graph.node:
            node.input[:] = ["first" if name == "input" else name for name in node.input]
        graph.node.insert(0, helper.make_node("Transpose", ["input"], ["first"], perm=[0, 3, 1, 2]))
        graph.input[0].CopyFrom(helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 32, 32, 3]))
    if half:
        pool = next(node for node in graph.node if node.op_type == "MaxPool")
        graph.node.remove(pool)
        for node in graph.node:
            node.input[:] = [pool.input[0] if name == pool.output[0] else name for name in node.input]
        for weight in graph.initializer:
            value = numpy_helper.to_array(weight).astype(np.float16)
            weight.CopyFrom(numpy_helper.from_array(value, weight.name))
        for value in (*graph.input, *graph.output):
            value.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("kind", ["as it is", "half", "last"])
def test_adversarial(small_model, picture, tmp_path, kind):
    model = small_model
    if kind != "as it is":
        model = as_other(small_model, tmp_path / "other.onnx", **{kind: True})
    normal = {"mean": "0.4,0.5,0.6", "std": "0.2,0.3,0.25", "scale": 250.0}
    options = [word for key, value in normal.items() for word in (f"--{key}", value)]
    out = run("adversarial.py", model, picture, "-o", tmp_path / "out", *options)
    classifier = adversarial.Classifier(model, **normal)
    plain = ort.InferenceSession(model, providers=["CPUExecutionProvider"])

    def read(path):
        return np.asarray(Image.open(path).convert("RGB").resize((32, 32)))

    def prepared(pixels):  # by hand
        values = (pixels / 250 - [0.4, 0.5, 0.6]) / [0.2, 0.3, 0.25]
        values = values[None] if kind == "last" else values.transpose(2, 0, 1)[None]
        return values.astype(np.float16 if kind == "half" else np.float32)

    def scored(images):
        return plain.run(None, {"input": images})[0][0].astype(np.float64)

    before, after = read(picture), read(tmp_path / "out" / "adversarial.png")
    images = prepared(before)
    np.testing.assert_array_equal(classifier.preprocess(before), images)
    scores, fooled = scored(images), scored(prepared(after))
    winner, second = np.argsort(-scores)[:2]
    assert fooled.argmax() != winner
    assert f"class {winner}, ahead of class {second}" in out
    assert f"class {fooled.argmax()}: " in out
    step = int(np.abs(after.astype(int) - before).max())
    assert f"{step:2} of 255 levels: margin " in out
    saliency = cv2.imread(str(tmp_path / "out" / "saliency.png"), cv2.IMREAD_UNCHANGED)
    assert saliency.shape == (32, 32)
    assert saliency.max() == 255

    _, gradient = classifier.run(images, winner, second)
    assert gradient.shape == images.shape
    if kind == "half":  # too coarse for differences
        return

    def margin(direction, step):
        found = scored((images + step * direction).astype(np.float32))
        return found[winner] - found[second]

    away = -np.sign(gradient)  # what the perturbation follows, and the steepest way in the maximum norm
    aside = np.random.default_rng(0).choice([-1.0, 1.0], gradient.shape)
    for direction in (away, aside):
        rise = (margin(direction, 1e-4) - margin(direction, -1e-4)) / 2e-4
        predicted = float((gradient * direction).sum())
        assert rise == pytest.approx(predicted, rel=0.02, abs=1e-3 * float(np.abs(gradient).sum()))
    assert margin(away, 1e-3) < margin(aside, 1e-3) < margin(-away, 1e-3)


BAD = {
    "missing model": ({"model": "missing.onnx"}, "missing.onnx"),
    "model that is a picture": ({"model": "picture.png"}, "parsing"),
    "missing picture": ({"picture": "missing.png"}, "missing.png"),
    "picture that is a model": ({"picture": "model.onnx"}, "cannot identify image"),
    "output in a file": ({"-o": "model.onnx"}, "File exists"),
    "means that are none": ({"--mean": "a,b,c"}, "'a'"),
    "one mean": ({"--mean": "0"}, "3 channels"),
    "std of zero": ({"--std": "0,1,1"}, "std > 0"),
    "scale of zero": ({"--scale": "0"}, "not finite"),
    "another size": ({"--size": "8 8"}, "the input is (32, 32)"),
    "no such output": ({"--output": "nothing"}, "no tensor 'nothing'"),
    "output that is no scores": ({"--output": "b.relu"}, "is not (N, classes)"),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", BAD)
def test_adversarial_refuses_in_one_line(small_model, picture, tmp_path, monkeypatch, case):
    changed, words = BAD[case]
    (tmp_path / "model.onnx").write_bytes(small_model.read_bytes())
    monkeypatch.chdir(tmp_path)
    given = {"model": "model.onnx", "picture": "picture.png", "-o": "out"} | changed
    arguments = [given.pop("model"), given.pop("picture")]
    for option, value in given.items():
        arguments += [option, *value.split(" ")]
    result = CliRunner().invoke(adversarial.main, arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.glob("out/adversarial.png"))


def test_labels_of_an_augmentation_train_without_any_framework(photos, tmp_path):
    demo = Path(sise_rt.__file__).parent / "demo" / "surface.sise"
    given = ["augment", photos, "-m", demo, "--format", "folder", "--method", "random", "--limit", 6]
    assert cli(list(map(str, [*given, "-o", tmp_path / "out"]))) == 0
    before, after = (
        {kind: float(loss) for kind, loss in zip(words[1::2], words[2::2], strict=True)}
        for words in map(str.split, run("read_labels.py", tmp_path / "out").splitlines())
    )
    assert before.keys() == {"original", "rest_occluded", "salient_occluded"}
    assert set(before.values()) == {1.792}  # the logarithm of six classes: five, and the background
    assert sum(after.values()) < sum(before.values()) - 0.5
