"""Files that explain themselves: what they say, that they are compared, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from sise_rt.export import single_file
from sise_rt.export.graphs.picture import refuse_preparation
from sise_rt.export.ir.nodes import subgraphs
from sise_rt.export.single_file import export_single_file

import sise_rt
from sise_rt.bundle import sha256
from sise_rt.errors import ArgumentError, BundleError, ModelError, OutputError, ParityError
from sise_rt.pictures.placement import preprocess
from sise_rt.running.one_graph import open_single_file, verify_single_file
from sise_rt.single_file import is_single_file

DEMO = Path(sise_rt.bundle.__file__).parent / "demo" / "surface.sise"
rng = np.random.default_rng(2)


@pytest.fixture(scope="module")
def report(small_model, tmp_path_factory):
    return export_single_file(
        small_model, tmp_path_factory.mktemp("file") / "explain.onnx", labels=list("abcde")
    )


def test_what_it_says(report, small_model):
    model = onnx.load(report.path)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(said["labels"]) == list("abcde")
    assert json.loads(said["preprocessing"])["input_size"] == [3, 32, 32]
    assert said["sise_rt.version"] == sise_rt.__version__
    assert json.loads(said["sise_rt.source"])["sha256"] == sha256(small_model)
    assert json.loads(said["sise_rt.parity"])["single_visualization_maps"] < 1e-5
    assert is_single_file(report.path)
    assert not is_single_file(small_model)
    assert not is_single_file(report.path.parent)
    facts = open_single_file(report.path).facts
    assert facts == report.facts
    assert facts.self_test is not None


def test_it_verifies_itself(report, tmp_path):
    errors = verify_single_file(open_single_file(report.path))
    assert max(errors.values()) < 1e-5
    model = onnx.load(report.path)
    (body,) = subgraphs(next(node for node in model.graph.node if node.op_type == "Loop"))
    weight = next(w for w in body.initializer if w.name == "head.bias")
    weight.CopyFrom(onnx.numpy_helper.from_array(np.arange(5, dtype=np.float32), "head.bias"))
    onnx.save(model, tmp_path / "other.onnx")
    try:
        errors = verify_single_file(open_single_file(tmp_path / "other.onnx"))
    except BundleError:
        return  # another class
    assert max(errors.values()) > 1e-2


@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++"])
def test_gradient_cams(small_model, small_bundle, tmp_path, method):
    file = export_single_file(small_model, tmp_path / "cam.onnx", method=method).path
    assert not any(node.op_type == "Loop" for node in onnx.load(file).graph.node)
    single, explainer = open_single_file(file), sise_rt.load(small_bundle, "cpu")
    for _ in range(3):
        picture = explainer.prepare(rng.integers(0, 256, (32, 32, 3), np.uint8))
        for target in range(5):
            own = single.explain(picture.tensor, target)
            try:
                expected = explainer.explain(picture, target, method=method).map
            except sise_rt.NoEvidence:
                assert own.status == 1
                expected = np.zeros_like(own.map)
            np.testing.assert_allclose(own.map, expected, atol=1e-4)
    nan = single.explain(picture.tensor * np.float32(np.nan))
    assert (nan.status, nan.target, nan.map.any()) == (3, -1, False)
    assert single.explain(picture.tensor, 5).status == 4


@pytest.mark.parametrize(
    "preprocess_by",
    [
        {"interpolation": "bilinear", "crop_pct": 0.875},
        {"interpolation": "bicubic", "crop_mode": "squash", "color": "BGR"},
        {"interpolation": "nearest"},
        {"interpolation": "linear", "crop_pct": 0.9},
    ],
)
def test_preprocessing_inside(small_model, tmp_path, preprocess_by):
    file = export_single_file(
        small_model, tmp_path / "p.onnx", preprocess=preprocess_by, preprocessing_inside=True
    )
    plain = export_single_file(small_model, tmp_path / "q.onnx", preprocess=preprocess_by)
    single, other = open_single_file(file.path), open_single_file(plain.path)
    assert single.facts.picture
    for height, width in ((61, 97), (33, 200), (32, 32), (20, 25), (40, 301)):
        coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8)
        pixels = np.ascontiguousarray(coarse.repeat(4, axis=0).repeat(4, axis=1)[:height, :width])
        image, _ = preprocess(pixels, plain.facts.preprocessing)
        expected = other.explain(image).logits
        off = np.abs(single.explain(pixels).logits - expected).max()
        assert off <= 2e-3 * np.abs(expected).max()


def test_grey_and_rectangles_are_prepared_inside(tmp_path, cnn):
    model = onnx.load(cnn(tmp_path / "m.onnx", size=40))
    first = next(w for w in model.graph.initializer if w.name == "stem.conv.weight")
    first.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(first)[:, :1].copy(), first.name))
    dims = model.graph.input[0].type.tensor_type.shape.dim
    dims[1].dim_value, dims[2].dim_value, dims[3].dim_value = 1, 24, 40
    onnx.save(model, tmp_path / "grey.onnx")
    file = export_single_file(tmp_path / "grey.onnx", tmp_path / "p.onnx", preprocessing_inside=True)
    plain = export_single_file(tmp_path / "grey.onnx", tmp_path / "q.onnx")
    single, other = open_single_file(file.path), open_single_file(plain.path)
    for height, width in ((97, 61), (50, 200), (24, 40)):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        image, _ = preprocess(pixels, plain.facts.preprocessing)
        expected = other.explain(image).logits
        off = np.abs(single.explain(pixels).logits - expected).max()
        assert off <= 2e-3 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"interpolation": "lanczos"}, "interpolation lanczos"),
        ({"crop_mode": "cut"}, "crop mode cut"),
        ({"bit_depth": 12}, "bit depth 12"),
    ],
)
def test_preparations_that_cannot_be_inside_are_refused(report, settings, said):
    with pytest.raises(ModelError, match=said):
        refuse_preparation(replace(report.facts.preprocessing, **settings))


def test_of_a_bundle(tmp_path):
    report = export_single_file(DEMO, tmp_path / "explain.onnx")
    weights = (DEMO / "weights.bin").stat().st_size
    assert report.size < 1.02 * weights + 2e6
    assert report.facts.labels == sise_rt.load(DEMO).manifest.labels
    with pytest.raises(ModelError, match="is a bundle") as refused:
        export_single_file(DEMO, tmp_path / "other.onnx", labels=list("abcde"))
    assert refused.value.settings == ("labels",)


def test_required_inputs(small_model, tmp_path):
    file = export_single_file(small_model, tmp_path / "r.onnx", required_inputs=True).path
    session = onnxruntime.InferenceSession(file)
    assert [value.name for value in session.get_inputs()] == ["image", "target", "mu", "max_masks"]
    assert not session.get_overridable_initializers()
    assert verify_single_file(open_single_file(file))["explanation"] < 1e-5


def test_one_that_differs_is_not_written(small_model, tmp_path, monkeypatch):
    from sise_rt.export.graphs import single

    monkeypatch.setattr(
        single, "activated_regions", lambda op, maps, *_: op.Greater(maps, op.constant(np.array(0.9)))
    )
    with pytest.raises(ParityError, match="pixels off"):
        export_single_file(small_model, tmp_path / "explain.onnx")
    assert list(tmp_path.iterdir()) == []


def test_other_masks_are_named(small_model, tmp_path, monkeypatch):
    from sise_rt.export.graphs import single

    monkeypatch.setattr(single, "CONSTANT", 10.0)
    with pytest.raises(ParityError, match=r"explains class \d by \d+ masks"):
        export_single_file(small_model, tmp_path / "explain.onnx")


def test_what_may_be_replaced(small_model, report, tmp_path):
    with pytest.raises(OutputError, match="no single file"):
        export_single_file(small_model, small_model, overwrite=True)
    with pytest.raises(OutputError, match="exists already") as refused:
        export_single_file(small_model, report.path)
    assert refused.value.settings == ("overwrite",)
    with pytest.raises(ArgumentError, match=r"something\.onnx"):
        export_single_file(small_model, tmp_path / "explain.sise")
    with pytest.raises(ArgumentError, match="no method"):
        export_single_file(small_model, tmp_path / "e.onnx", method="rise")


def test_files_that_are_none(small_model, report, tmp_path):
    with pytest.raises(BundleError, match="does not explain itself"):
        open_single_file(small_model)
    with pytest.raises(BundleError, match="cannot be read"):
        open_single_file(tmp_path / "nothing.onnx")
    (tmp_path / "junk.onnx").write_bytes(b"sise_rt.format" + bytes(100))
    with pytest.raises(BundleError, match="cannot be loaded"):
        open_single_file(tmp_path / "junk.onnx")
    for key, value, said in (
        ("sise_rt.format", "2", "format '2'"),
        ("preprocessing", "{", "metadata"),
        ("preprocessing", '{"input_size": 3}', "metadata"),
        ("sise_rt.blocks", "[1]", "metadata"),
    ):
        model = onnx.load(report.path)
        next(entry for entry in model.metadata_props if entry.key == key).value = value
        onnx.save(model, tmp_path / "m.onnx")
        with pytest.raises(BundleError, match=said):
            open_single_file(tmp_path / "m.onnx")


def test_one_too_large_for_an_onnx_file(small_model, tmp_path, monkeypatch):
    monkeypatch.setattr(single_file, "LARGEST", 10_000)
    with pytest.raises(ModelError, match="holds 2 GB"):
        export_single_file(small_model, tmp_path / "explain.onnx")
