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
