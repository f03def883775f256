"""Verifying a bundle without its source."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import sise_rt
from sise_rt.bundle import MANIFEST, WEIGHTS, sha256
from sise_rt.running.verify import TOLERANCES, failures, tolerances, verify


@pytest.fixture
def bundle(small_bundle, tmp_path) -> Path:
    """A copy that the test may break."""
    return Path(shutil.copytree(small_bundle, tmp_path / "copy.sise"))


def rehash(bundle: Path) -> None:
    data = json.loads((bundle / MANIFEST).read_text("utf-8"))
    data["files"] = {path: sha256(bundle / path) for path in data["files"]}
    (bundle / MANIFEST).write_text(json.dumps(data), "utf-8")


def test_a_sound_bundle_verifies(small_bundle):
    errors = verify(sise_rt.load(small_bundle, "cpu").engine)
    assert list(errors) == list(TOLERANCES)
    assert failures(errors, TOLERANCES) == []
    assert "differences" in tolerances(sise_rt.load(small_bundle, "cpu").manifest)
    assert max(errors["logits"], errors["maps"], errors["alpha"], errors["chain"]) < 1e-5


def test_differences_add_nothing_to_autograd(bundle):
    data = json.loads((bundle / MANIFEST).read_text("utf-8"))
    data["parity"]["compared"]["alpha"] = len(data["blocks"])
    (bundle / MANIFEST).write_text(json.dumps(data), "utf-8")
    explainer = sise_rt.load(bundle, "cpu")
    assert tolerances(explainer.manifest).keys() == TOLERANCES.keys() - {"differences"}
    assert "differences" not in verify(explainer.engine)


@pytest.mark.parametrize(
    ("graph", "output", "errors"),
    [
        ("forward", "logits", ["chain", "score"]),
        ("last_block_gradient", "last_block_gradient", ["chain"]),
        ("image_gradient", "image_gradient", ["image_gradient"]),
        ("score", "confidences", ["score"]),
    ],
)
def test_every_graph_is_compared(bundle, graph, output, errors):
    assert failures(verify(sise_rt.load(bundle, "cpu").engine), TOLERANCES) == []
    path = bundle / f"{graph}.onnx"
    model = onnx.load(path, load_external_data=False)
    node = next(node for node in model.graph.node if output in node.output)
    node.output[list(node.output).index(output)] = "before"
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1.1), "factor"))
    model.graph.node.append(helper.make_node("Mul", ["before", "factor"], [output]))
    for other in model.graph.node:
        if other is not node:
            other.input[:] = ["before" if name == output else name for name in other.input]
    path.write_bytes(model.SerializeToString())
    rehash(bundle)
    failed = failures(verify(sise_rt.load(bundle, "cpu").engine), TOLERANCES)
    assert [line.split()[0] for line in failed] == errors


def test_other_weights_are_found_out(bundle):
    weights = np.fromfile(bundle / WEIGHTS, np.float32)
    middle = slice(len(weights) // 4, len(weights) // 2)
    weights[middle] *= 1.01
    weights.tofile(bundle / WEIGHTS)
    rehash(bundle)
    errors = verify(sise_rt.load(bundle, "cpu").engine)
    found = {line.split()[0] for line in failures(errors, TOLERANCES)}
    assert {"logits", "maps"} <= found
    assert "chain" not in found, "the graphs agree with each other"


def test_failures_name_what_is_above_or_no_number():
    errors = {"logits": 1e-9, "maps": float("nan"), "chain": 1.0}
    assert failures(errors, TOLERANCES) == ["maps nan is above 1e-03", "chain 1.0e+00 is above 1e-04"]
