"""The score graph in half precision against float32 and against rounding by hand, and the gate before it."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from sise_rt.export import export
from sise_rt.export.canonical.blocks import find_blocks
from sise_rt.export.canonical.form import canonical
from sise_rt.export.gate_folder import gate_pictures
from sise_rt.export.graphs.half import rounded, score_in_half, with_peaks
from sise_rt.export.graphs.link import score_graph
from sise_rt.export.graphs.split import cut_at_blocks
from sise_rt.export.intake.sources import open_source
from sise_rt.export.ir.cpu_sessions import Level, open_session, quiet_options
from sise_rt.export.ir.network import to_model
from sise_rt.export.proof.gate import Gate
from sise_rt.export.settings import image_size

import sise_rt
from sise_rt.bundle import MANIFEST, WEIGHTS, parse_manifest, read_bundle
from sise_rt.commands.group import run as command
from sise_rt.errors import ArgumentError, BundleError, ImageError, ModelError, ParityError
from sise_rt.phases.masked_picture import strongest
from sise_rt.phases.masks import select
from sise_rt.running.sessions import Sessions
from sise_rt.running.verify import failures, tolerances, verify

FULL = {"Resize", "ReduceMin", "ReduceMax", "ReduceSum", "Div", "GlobalAveragePool", "ReduceMean", "Softmax"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Smooth random pictures, one of them in a subfolder."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    for seed, name in enumerate(("a.png", "b.png", "more/c.png")):
        noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(noise, (40, 40), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.fixture(scope="module")
def half_bundle(small_model, photos, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("half") / "small.sise"
    done = []
    export(
        small_model,
        folder,
        labels=list("abcde"),
        precision="fp16",
        gate_images=photos,
        progress=lambda *counts: done.append(counts),
    )
    assert done == [(0, 3), (1, 3), (2, 3), (3, 3)]
    return folder


def element_types(path: Path) -> tuple[list[onnx.NodeProto], dict[str, int]]:
    """The nodes of a bundle's graph, and the type of each of its tensors, inferred by onnx itself."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True)
    graph = model.graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output, *graph.value_info)}
    return list(graph.node), types | {w.name: w.data_type for w in graph.initializer}


def test_only_the_network_is_in_half_precision(half_bundle):
    nodes, types = element_types(half_bundle / "score.onnx")
    for node in nodes:
        kinds = {types[name] for name in (*node.input, *node.output) if name} & {
            TensorProto.FLOAT,
            TensorProto.FLOAT16,
        }
        if node.op_type in ("Conv", "Gemm", "Relu", "Add", "MaxPool"):
            assert kinds == {TensorProto.FLOAT16}, node.name
        elif node.op_type in FULL:
            assert kinds == {TensorProto.FLOAT}, node.name
    assert {"Conv", "Gemm", "GlobalAveragePool", "Resize", "Softmax"} <= {node.op_type for node in nodes}


def test_inputs_and_outputs_are_in_float32(half_bundle):
    graph = onnx.load(half_bundle / "score.onnx", load_external_data=False).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)}
    assert types.pop("targets") == TensorProto.INT64
    assert set(types.values()) == {TensorProto.FLOAT}
    assert types.keys() == {"image", "maps", "confidences", "minimum", "maximum", "area"}


def test_other_graphs_are_the_same_in_both_precisions(half_bundle, small_bundle):
    names = {path.relative_to(small_bundle) for path in small_bundle.rglob("*.onnx")}
    assert len(names) > 10
    for name in names - {Path("score.onnx")}:
        assert (half_bundle / name).read_bytes() == (small_bundle / name).read_bytes()
    full, half = ((bundle / WEIGHTS).read_bytes() for bundle in (small_bundle, half_bundle))
    assert half.startswith(full)


def test_weights_are_stored_once_more_in_half_the_bytes(half_bundle, small_bundle):
    graph = onnx.load(half_bundle / "score.onnx", load_external_data=False).graph
    stored = {w.name: w for w in graph.initializer if w.data_location == TensorProto.EXTERNAL}
    halves = {n for n, w in stored.items() if w.data_type == TensorProto.FLOAT16}
    assert halves == stored.keys() != set()
    originals = onnx.load(half_bundle / "forward.onnx").graph.initializer
    values = {w.name: numpy_helper.to_array(w) for w in originals}
    for w in onnx.load(half_bundle / "score.onnx").graph.initializer:
        if w.data_type == TensorProto.FLOAT16:
            value = values[w.name.removeprefix("sise_rt/half/")].astype(np.float16)
            np.testing.assert_array_equal(numpy_helper.to_array(w), value)
    sizes = [(bundle / WEIGHTS).stat().st_size for bundle in (small_bundle, half_bundle)]
    assert sizes[0] < sizes[1]


def scored(bundle: Path, image: np.ndarray, maps: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
    """What the bundle's own score graph gives."""
    graph = Sessions(bundle, read_bundle(bundle), "cpu").open("score")
    return graph.run({"image": image, "maps": maps, "targets": targets})


def test_confidences(half_bundle, small_bundle):
    rng = np.random.default_rng(3)
    image = rng.standard_normal((1, 3, 32, 32)).astype(np.float32)
    maps, targets = rng.random((6, 1, 8, 8)).astype(np.float32), np.array([0, 3])
    one, other = (scored(bundle, image, maps, targets) for bundle in (small_bundle, half_bundle))
    np.testing.assert_allclose(other[0], one[0], atol=5e-3)
    assert (other[0] != one[0]).any()  # it is another precision
    for exact, same in zip(one[1:], other[1:], strict=True):
        np.testing.assert_array_equal(exact, same)


# ----------------------------------------------------------------------------- against torch and real halves


def canonical_score(path: Path, scratch: Path, specs_of):
    """The network of an ONNX file, its score graph, and that in half precision."""
    opened = open_source(path, scratch)
    network = canonical(
        opened.model, scratch, opened.ends, image_size(opened.ends, None, opened.description)[0], "softmax"
    )
    specs = specs_of(network, find_blocks(network))
    score = score_graph(specs["score"], network, cut_at_blocks(network, specs))
    return network, score, score_in_half(network, score)


def test_confidences_against_torch(photos, tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(2)
    net = torch.nn.Sequential(
        *(torch.nn.Conv2d(3, 8, 3, 1, 1), torch.nn.BatchNorm2d(8), torch.nn.SiLU(), torch.nn.MaxPool2d(2)),
        *(torch.nn.Conv2d(8, 12, 3, 2, 1), torch.nn.Hardswish(), torch.nn.GroupNorm(3, 12)),
        *(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(12, 4)),
    ).eval()
    example = torch.randn(1, 3, 24, 24)
    settings = {"mean": 0.5, "std": 0.25}
    report = export(
        net, tmp_path / "a.sise", example=example, preprocess=settings, precision="fp16", gate_images=photos
    )
    assert report.manifest.parity.gate.correlation > 0.999
    maps, targets = torch.rand(5, 1, 6, 6), np.array([2, 0])
    confidences, *_ = scored(report.path, example.numpy(), maps.numpy(), targets)
    resized = torch.nn.functional.interpolate(maps, (24, 24), mode="bilinear")
    low, high = (f(resized, (1, 2, 3), keepdim=True) for f in (torch.amin, torch.amax))
    with torch.no_grad():
        expected = net(example * (resized - low) / (high - low)).softmax(1)[:, targets]
    np.testing.assert_allclose(confidences, expected, atol=2e-3)
    nodes, types = element_types(report.path / "score.onnx")
    norms = [node for node in nodes if node.op_type in ("InstanceNormalization", "GroupNormalization")]
    assert norms
    assert all(types[node.input[0]] == types[node.output[0]] == TensorProto.FLOAT for node in norms)


def test_rounding_against_half_precision_arithmetic(small_model, tmp_path, specs_of):
    network, _, half = canonical_score(small_model, tmp_path, specs_of)
    rng = np.random.default_rng(5)
    inputs = {
        "image": rng.standard_normal((1, 3, 32, 32)).astype(np.float32),
        "maps": rng.random((2, 1, 8, 8)).astype(np.float32),
        "targets": np.array([1, 2]),
    }
    expected = ReferenceEvaluator(to_model(half, network)).run(None, inputs)
    model = to_model(rounded(network, half), network).SerializeToString()
    found = open_session(model, quiet_options(Level.ORT_ENABLE_ALL)).run(None, inputs)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-3)
    for a, b in zip(found[1:], expected[1:], strict=True):
        np.testing.assert_allclose(a, b, 1e-4, 1e-5)


def test_peaks_are_the_largest_values(small_model, tmp_path, specs_of):
    network, score, half = canonical_score(small_model, tmp_path, specs_of)
    reference, names = with_peaks(network, score, half)
    inputs = {
        "image": np.random.default_rng(6).standard_normal((1, 3, 32, 32)).astype(np.float32),
        "maps": np.random.default_rng(7).random((1, 1, 4, 4)).astype(np.float32),
        "targets": np.array([0]),
    }
    *_, peaks = ReferenceEvaluator(to_model(reference, network)).run(None, inputs)
    every = replace(score, outputs=tuple(names))
    for name in names:
        network.types[name] = replace(network.types[name])
    values = ReferenceEvaluator(to_model(every, network)).run(None, inputs)
    np.testing.assert_allclose(peaks, [np.abs(value).max() for value in values], 1e-5)
    assert {"images", "logits"} <= set(names)


# --------------------------------------------------------------------------------------------------- refusals


def changed(source: Path, path: Path, change) -> Path:
    """A copy of an ONNX file with some weights changed by `change(name, value)`."""
    model = onnx.load(source)
    for weight in model.graph.initializer:
        value = change(weight.name, numpy_helper.to_array(weight))
        weight.CopyFrom(numpy_helper.from_array(value.astype(np.float32), weight.name))
    onnx.save(model, path)
    return path


def test_a_tensor_beyond_float16_is_refused(small_model, photos, tmp_path):
    factors = {"stem.norm.scale": 3e4, "a.conv1.weight": 1e-4, "a.shortcut.weight": 1e-4}
    model = changed(small_model, tmp_path / "a.onnx", lambda name, value: value * factors.get(name, 1.0))
    with pytest.raises(
        ParityError, match=r"refused: tensor '.+' reaches [\d.e+]+ on .+\.png.+65504"
    ) as error:
        export(model, tmp_path / "a.sise", precision="fp16", gate_images=photos)
    assert float(re.search(r"reaches ([\d.e+]+)", str(error.value)).group(1)) > 65504 / 2
    assert not (tmp_path / "a.sise").exists()
    export(model, tmp_path / "a.sise")  # what float32 holds


def test_a_weight_beyond_float16_is_refused(small_model, photos, tmp_path):
    model = changed(
        small_model, tmp_path / "a.onnx", lambda name, value: value * (1e6 if name == "head.weight" else 1.0)
    )
    with pytest.raises(ModelError, match=r"weight 'head.weight' of node .* reaches [\d.e+]+, .* 65504"):
        export(model, tmp_path / "a.sise", precision="fp16", gate_images=photos)


def test_a_quantised_network_is_refused(small_model, photos, tmp_path):
    model = onnx.load(small_model)
    graph = model.graph
    graph.initializer.extend(
        [numpy_helper.from_array(np.float32(0.05), "step"), numpy_helper.from_array(np.uint8(0), "zero")]
    )
    pool = next(i for i, node in enumerate(graph.node) if node.name == "pool")
    there = helper.make_node("QuantizeLinear", ["stem.relu", "step", "zero"], ["whole"], name="steps")
    back = helper.make_node("DequantizeLinear", ["whole", "step", "zero"], ["back"], name="back")
    graph.node[pool].input[0] = "back"
    graph.node.insert(pool, back)
    graph.node.insert(pool, there)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=r"quantised already, as by node 'steps'.+export it in fp32"):
        export(tmp_path / "a.onnx", tmp_path / "a.sise", precision="fp16", gate_images=photos)


@pytest.mark.parametrize(
    ("operator", "constants", "expected"),
    [
        ("Add", [1e-12], "positive"),  # what keeps a divisor from zero does not vanish
        ("Clip", [0.0, 3.4e38], "infinite"),  # no limit stays none
        ("Mul", [0.5], "same"),
        ("Div", [4.0], "same"),
    ],
)
def test_constants_in_half_precision(small_model, tmp_path, specs_of, operator, constants, expected):
    model = onnx.load(small_model)
    graph = model.graph
    names = [f"{operator}{i}" for i in range(len(constants))]
    graph.initializer.extend(
        numpy_helper.from_array(np.float32(v), n) for n, v in zip(names, constants, strict=True)
    )
    pool = next(i for i, node in enumerate(graph.node) if node.name == "pool")
    graph.node[pool].input[0] = "changed"
    graph.node.insert(pool, helper.make_node(operator, ["stem.relu", *names], ["changed"], name="changed"))
    onnx.save(model, tmp_path / "a.onnx")
    network, _, half = canonical_score(tmp_path / "a.onnx", tmp_path, specs_of)
    node = next(node for node in half.nodes if node.output[0].endswith("changed"))
    value = network.weights[node.input[-1]]
    assert value.dtype == np.float16
    assert {"positive": value > 0, "infinite": np.isposinf(value), "same": value == constants[0]}[expected]


def test_rounding_that_changes_explanations_is_refused(small_model, photos, tmp_path):
    model = onnx.load(small_model)
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.float32(6000), "far"))
    relu = next(i for i, node in enumerate(graph.node) if node.name == "stem.relu")
    there, back = (
        helper.make_node("Add", [graph.node[relu].input[0], "far"], ["there"]),
        helper.make_node("Sub", ["there", "far"], ["back"]),
    )
    graph.node[relu].input[0] = "back"
    graph.node.insert(relu, back)
    graph.node.insert(relu, there)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(
        ParityError, match=r"on 3 pictures, explanations correlate at 0\.\d+ .*0.99 is needed"
    ):
        export(tmp_path / "a.onnx", tmp_path / "a.sise", precision="fp16", gate_images=photos)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.onnx"]


@pytest.mark.parametrize(
    ("correlations", "jaccards", "reason"),
    [
        ((1.0, 0.96), (1.0, 1.0), "correlate at 0.9800 in the mean"),
        ((1.0,) * 9 + (0.94,), (1.0,) * 10, "correlate at 0.9400 for p9"),
        ((1.0, 1.0), (1.0, 0.95), "Jaccard index of 0.9750"),
        ((1.0, float("nan")), (1.0, 1.0), "correlate at nan"),
    ],
)
def test_each_figure_can_refuse(correlations, jaccards, reason):
    names = tuple(f"p{i}" for i in range(len(correlations)))
    figures = {"confidence": 0.0, "left_out": 0, "peak": 1.0}
    gate = Gate(pictures=names, correlations=correlations, jaccards=jaccards, **figures)
    (text,) = gate.failures()[:1]
    assert reason in text


def test_good_figures_do_not_refuse():
    figures = {"confidence": 0.1, "left_out": 0, "peak": 1.0}
    gate = Gate(pictures=("a", "b"), correlations=(1.0, 0.985), jaccards=(1.0, 0.97), **figures)
    assert gate.failures() == []


def test_confidences_that_are_no_numbers_are_refused(small_model, photos, tmp_path, monkeypatch):
    def overflowing(network, half):
        graph = rounded(network, half)
        last = graph.nodes[-1]
        assert list(last.output) == ["confidences"]
        copy = onnx.NodeProto()
        copy.CopyFrom(last)
        copy.output[0] = "finite"
        none = helper.make_node("Log", ["minus"], ["nan"])
        minus = helper.make_node("Neg", ["finite"], ["minus"])
        added = helper.make_node("Add", ["finite", "nan"], ["confidences"])
        return replace(graph, nodes=(*graph.nodes[:-1], copy, minus, none, added))

    monkeypatch.setattr(sys.modules["sise_rt.export.proof.gate"], "rounded", overflowing)
    with pytest.raises(ParityError, match=r"refused: \d+ of \d+ confidences of masked copies .* no numbers"):
        export(small_model, tmp_path / "a.sise", precision="fp16", gate_images=photos)


def test_flat_maps_cannot_judge(small_model, photos, tmp_path):
    model = changed(small_model, tmp_path / "a.onnx", lambda _, value: 0 * value)
    with pytest.raises(ParityError, match="cannot be judged: nothing explains any of the 3 pictures"):
        export(model, tmp_path / "a.sise", gradients=False, precision="fp16", gate_images=photos)


# ------------------------------------------------------------------------------------- pictures and masks


def test_pictures_are_evenly_drawn(tmp_path):
    for i in range(45):
        (tmp_path / f"{i:02d}.jpg").touch()
    for name in (".00.jpg", "notes.txt", "._01.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    drawn = gate_pictures("fp16", tmp_path)
    numbers = [int(path.stem) for path in drawn]
    assert len(set(numbers)) == 20
    assert numbers == sorted(numbers)
    assert set(np.diff(numbers)) == {2, 3}
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "z.NPY").touch()
    for i in range(2, 45):
        (tmp_path / f"{i:02d}.jpg").unlink()
    assert [path.name for path in gate_pictures("fp16", str(tmp_path))] == ["00.jpg", "01.jpg", "z.NPY"]


@pytest.mark.parametrize(
    ("precision", "folder", "reason"),
    [
        ("fp16", None, "give a folder of some 20 pictures"),
        ("fp16", "missing", "no such folder"),
        ("fp16", "empty", "has no pictures"),
        ("fp16", "a\0b", "cannot be read|no such folder"),
        ("fp32", "empty", "was not asked for"),
        ("int8", "empty", "no precision 'int8'; known are fp32, fp16"),
    ],
)
def test_bad_settings(tmp_path, small_model, precision, folder, reason):
    (tmp_path / "empty").mkdir()
    given = folder and tmp_path / folder
    with pytest.raises(ArgumentError, match=reason):
        export(small_model, tmp_path / "a.sise", precision=precision, gate_images=given)


def test_a_broken_picture_is_named(small_model, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(ImageError, match=r"broken\.png"):
        export(small_model, tmp_path / "a.sise", precision="fp16", gate_images=tmp_path / "a")
    assert not (tmp_path / "a.sise").exists()


def test_masks_are_those_that_a_higher_mu_leaves():
    rng = np.random.default_rng(8)
    maps = [rng.random((k, 3, 3)).astype(np.float32) for k in (30, 40)]
    maps[1][3] = 0.5
    alphas = [rng.standard_normal(30).astype(np.float32), 1e-3 * rng.standard_normal(40).astype(np.float32)]
    for mu in (0.0, 0.3, 0.6):
        expected = [select(alpha, mu) for alpha in alphas]
        expected[1][3] = False
        found = strongest(maps, alphas, sum(int(keep.sum()) for keep in expected))
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_nothing_is_kept_where_nothing_speaks_for_the_target():
    maps = [np.random.default_rng(9).random((4, 3, 3)).astype(np.float32)] * 2
    alphas = [-np.arange(10, 14, dtype=np.float32), np.zeros(4, np.float32)]
    assert not np.concatenate(strongest(maps, alphas)).any()


def test_masks_without_gradient_scores_are_evenly_drawn():
    maps = [np.random.default_rng(10).random((k, 3, 3)).astype(np.float32) for k in (10, 30)]
    maps[0][0] = 1.0
    first, second = strongest(maps, [], 13)
    assert first.sum() == 3
    assert second.sum() == 10
    assert not first[0]
    assert np.concatenate(strongest(maps, [], 100)).sum() == 39


# -------------------------------------------------------------------------------- the bundle and the commands


def test_a_bundle_explains_and_verifies(half_bundle, small_bundle, photos):
    one, other = (sise_rt.load(bundle, "cpu") for bundle in (small_bundle, half_bundle))
    assert failures(verify(other.engine), tolerances(other.manifest)) == []
    maps = [explainer.explain(photos / "a.png").map for explainer in (one, other)]
    assert np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1] > 0.99
    assert (maps[0] != maps[1]).any()


def test_without_gradients(cnn, photos, tmp_path):
    options = {"precision": "fp16", "gate_images": photos}
    report = export(cnn(tmp_path / "a.onnx"), tmp_path / "a.sise", gradients=False, **options)
    assert report.manifest.parity.gate.images == 3
    assert sise_rt.load(report.path, "cpu").explain(photos / "b.png").map.max() == 1


def test_of_one_image_at_a_time(small_model_of_one, half_bundle, photos, tmp_path):
    options = {"precision": "fp16", "gate_images": photos}
    report = export(small_model_of_one, tmp_path / "a.sise", **options)
    assert report.manifest.input.batch == 1
    one, many = (sise_rt.load(path, "cpu") for path in (report.path, half_bundle))
    for limit in ({}, {"budget": 0.4}):
        found, expected = (each.explain(photos / "b.png", 2, **limit) for each in (one, many))
        assert (found.batch, found.masks) == (1, expected.masks)
        assert np.corrcoef(found.raw.ravel(), expected.raw.ravel())[0, 1] > 0.999


def test_manifest(half_bundle, small_bundle):
    manifest = read_bundle(half_bundle)
    assert manifest.precision == "fp16"
    gate = manifest.parity.gate
    assert gate.images == 3
    assert gate.left_out == 0
    assert 0.99 <= gate.lowest_correlation <= gate.correlation <= 1
    assert gate.jaccard == 1
    assert 0 < gate.confidence < 0.01
    assert 0 < gate.peak < 1000
    assert parse_manifest(manifest.to_json(), "again") == manifest
    data = json.loads((small_bundle / MANIFEST).read_text("utf-8"))
    assert data.pop("precision") == "fp32"
    assert parse_manifest(json.dumps(data | {"schema_version": "1.2"}), "older").precision == "fp32"
    for value, reason in (("int4", "unknown precision 'int4'"), (16, r"`\$.precision`")):
        with pytest.raises(BundleError, match=reason):
            parse_manifest(json.dumps(data | {"precision": value}), "other")


def run(capsys, *arguments):
    code = command([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def test_command(small_model, photos, tmp_path, capsys):
    bundle = tmp_path / "a.sise"
    given = ("export", small_model, "-o", bundle, "--precision", "fp16", "--gate-images", photos)
    code, out, _ = run(capsys, *given)
    assert code == 0
    assert "fp16 against fp32 on 3 pictures: explanations correlate at " in out
    assert "the network in fp16" in run(capsys, "inspect", bundle)[1]
    assert run(capsys, *given[:-2], "--quiet", "--overwrite", *given[-2:])[1] == ""


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ("--precision", "fp16"),
            r"explanations depends on the model: .* \(see --gate-images\)",
        ),
        (("--gate-images", "photos"), r"judge the precision fp16, .*\(see --gate-images, --precision\)"),
        (("--precision", "int8"), "'int8' is not one of 'fp32', 'fp16'"),
        (("--precision", "fp16", "--gate-images", "nowhere"), "'nowhere': no such folder"),
    ],
)
def test_wrong_use_of_the_command(small_model, tmp_path, capsys, arguments, reason):
    code, out, err = run(capsys, "export", small_model, "-o", tmp_path / "a.sise", *arguments)
    assert code == 2
    assert out == ""
    assert re.search(reason, " ".join(err.split()))
    assert not (tmp_path / "a.sise").exists()
