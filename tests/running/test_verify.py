"""Verifying a bundle without its source."""

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import sise_rt
from sise_rt.bundle import MANIFEST, PROBE, WEIGHTS, sha256
from sise_rt.errors import BundleError
from sise_rt.running.verify import TOLERANCES, failures, relative_error, tolerances, verify


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
    assert failures(errors) == []
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
    assert failures(verify(sise_rt.load(bundle, "cpu").engine)) == []
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
    assert [line.split()[0] for line in failures(verify(sise_rt.load(bundle, "cpu").engine))] == errors


def test_other_weights_are_found_out(bundle):
    weights = np.fromfile(bundle / WEIGHTS, np.float32)
    middle = slice(len(weights) // 4, len(weights) // 2)
    weights[middle] *= 1.01
    weights.tofile(bundle / WEIGHTS)
    rehash(bundle)
    errors = verify(sise_rt.load(bundle, "cpu").engine)
    found = {line.split()[0] for line in failures(errors)}
    assert {"logits", "maps"} <= found
    assert "chain" not in found, "the graphs agree with each other"


def arrays(bundle: Path) -> dict[str, np.ndarray]:
    with np.load(bundle / PROBE) as stored:
        return {name: stored[name] for name in stored.files}


def saved(values: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **values)
    return stream.getvalue()


def emptied() -> bytes:
    stream = io.BytesIO()
    zipfile.ZipFile(stream, "w").close()
    return stream.getvalue()


BROKEN = {
    "empty": lambda _: b"",
    "no archive": lambda _: b"PK\x03\x04 and then nothing",
    "cut": lambda values: saved(values)[:-300],
    "no arrays": lambda _: emptied(),
    "an array too few": lambda values: saved({k: v for k, v in values.items() if k != "alpha_2"}),
    "no numbers": lambda values: saved(values | {"alpha_1": np.array(["a"] * 8)}),
    "pickled": lambda values: saved(values | {"maps_1": np.array([{}] * 8, object)}),
    "target of two": lambda values: saved(values | {"target": np.array([1, 2])}),
    "other maps": lambda values: saved(values | {"maps_1": np.zeros(3)}),
    "other size": lambda values: saved(values | {"image": np.zeros((3, 8, 8), np.uint8)}),
    "target out of range": lambda values: saved(values | {"target": np.array(77)}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_stored_numbers_that_cannot_be_used(bundle, case):
    (bundle / PROBE).write_bytes(BROKEN[case](arrays(bundle)))
    rehash(bundle)
    with pytest.raises(BundleError, match=rf"{PROBE} cannot be used"):
        verify(sise_rt.load(bundle, "cpu").engine)


def test_relative_error():
    reference = np.array([1.0, -4.0])
    assert relative_error(np.array([1.0, -3.0]), reference) == 0.25
    assert relative_error(np.array([0.5]), np.zeros(1)) == 0.5
    assert relative_error(np.zeros(0), np.zeros(0)) == 0
    assert np.isnan(relative_error(np.array([np.nan]), np.ones(1)))


def test_failures_name_what_is_above_or_no_number():
    errors = {"logits": 1e-9, "maps": float("nan"), "chain": 1.0}
    assert failures(errors) == ["maps nan is above 1e-03", "chain 1.0e+00 is above 1e-04"]
