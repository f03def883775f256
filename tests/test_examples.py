"""The examples run as their first lines say."""

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import cv2
import numpy as np
import pytest

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
    assert cv2.imread(str(tmp_path / "out" / "picture.3.png")).shape == (40, 60, 3)


def test_own_torch_model(tmp_path):
    pytest.importorskip("torch")
    out = run("own_torch_model.py", "-o", tmp_path / "out")
    assert "picture.1.blocks.png" in out
    assert np.load(tmp_path / "out" / "picture.1.npy").shape == (64, 64)


def test_service(small_bundle, picture):
    spec = spec_from_file_location("service", EXAMPLES / "service.py")
    service = module_from_spec(spec)
    spec.loader.exec_module(service)
    with service.make_server(str(small_bundle), 0, "cpu") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"

        def post(body, query=""):
            with urllib.request.urlopen(address + query, data=body, timeout=60) as answer:
                return answer.headers["Content-Type"], answer.read()

        kind, png = post(picture.read_bytes(), "?target=c")
        assert kind == "image/png"
        assert cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).shape == (40, 60, 3)
        kind, record = post(picture.read_bytes(), "?target=2&format=json&mu=0")
        assert json.loads(record)["target"] == {"index": 2, "label": "c"}
        for body, query in (
            (b"no picture", ""),
            (picture.read_bytes(), "?target=zebra"),
            (picture.read_bytes(), "?mu=7"),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                post(body, query)
            assert refused.value.code == 400
            assert refused.value.read().strip()
            refused.value.close()
        server.shutdown()


def test_adversarial(small_model, picture, tmp_path):
    out = run("adversarial.py", small_model, picture, "-o", tmp_path / "out")
    spec = spec_from_file_location("adversarial", EXAMPLES / "adversarial.py")
    adversarial = module_from_spec(spec)
    spec.loader.exec_module(adversarial)
    classifier = adversarial.Classifier(small_model)

    def read(path):
        image = adversarial.Image.open(path).convert("RGB")
        return np.asarray(image.resize((32, 32)))

    before, after = read(picture), read(tmp_path / "out" / "adversarial.png")
    images = adversarial.preprocess(before)
    scores, fooled = (classifier.scores(adversarial.preprocess(pixels)) for pixels in (before, after))
    winner, second = np.argsort(-scores)[:2]
    assert fooled.argmax() != winner
    assert f"class {winner}, ahead of class {second}" in out
    assert f"class {fooled.argmax()}: " in out
    step = int(np.abs(after.astype(int) - before).max())
    assert f"{step:2} of 255 levels: margin " in out
    saliency = cv2.imread(str(tmp_path / "out" / "saliency.png"), cv2.IMREAD_UNCHANGED)
    assert saliency.shape == (32, 32)
    assert saliency.max() == 255

    gradient = classifier.margin_gradient(images, winner, second)

    def margin(direction, step):
        found = classifier.scores((images + step * direction).astype(np.float32)).astype(np.float64)
        return found[winner] - found[second]

    away = -np.sign(gradient)  # what the perturbation follows, and the steepest way in the maximum norm
    aside = np.random.default_rng(0).choice([-1.0, 1.0], gradient.shape)
    for direction in (away, aside):
        rise = (margin(direction, 1e-3) - margin(direction, -1e-3)) / 2e-3
        predicted = float((gradient * direction).sum())
        assert rise == pytest.approx(predicted, rel=0.02, abs=1e-3 * float(np.abs(gradient).sum()))
    assert margin(away, 1e-3) < margin(aside, 1e-3) < margin(-away, 1e-3)
