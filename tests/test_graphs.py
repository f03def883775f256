"""The specs of a bundle's graphs: against what an export writes, a session takes, and the page says."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
from onnx import TensorProto, helper
from sise_rt.export import export

from sise_rt.bundle import Block, read_bundle
from sise_rt.errors import BundleError
from sise_rt.graphs import GraphSpec, TensorSpec, graph_specs
from sise_rt.running.sessions import Sessions

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(
    scope="module", params=["plain", "sigmoid", "single logit", "batch 1", "no gradients", "half precision"]
)
def bundle(request, cnn, small_model, small_model_of_one, tmp_path_factory):
    folder = tmp_path_factory.mktemp("specs")
    tails = {"sigmoid": {"tail": "Sigmoid"}, "single logit": {"classes": 1}}
    model = small_model_of_one if request.param == "batch 1" else small_model
    if request.param in tails:
        model = cnn(folder / "model.onnx", **tails[request.param])
    options = {"gradients": False} if request.param == "no gradients" else {}
    if request.param == "half precision":
        options = {"precision": "fp16", "gate_images": ROOT / "sise_rt" / "demo"}
    return export(model, folder / "made.sise", **options).path


def written(path: Path) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs as a file declares them."""
    graph = onnx.load(path, load_external_data=False).graph
    kinds = {TensorProto.FLOAT: "float32", TensorProto.INT64: "int64"}
    weights = {weight.name for weight in graph.initializer}

    def tensor(value):
        kind = value.type.tensor_type
        dims = (d.dim_value if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim)
        return TensorSpec(value.name, kinds[kind.elem_type], tuple(dims))

    given = [value for value in graph.input if value.name not in weights]
    return list(map(tensor, given)), list(map(tensor, graph.output))


def test_an_export_writes_what_the_specs_say(bundle):
    specs = graph_specs(read_bundle(bundle))
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*.onnx")}
    assert {spec.path for spec in specs.values()} == files
    for name, spec in specs.items():
        assert name == spec.name
        assert written(bundle / spec.path) == (list(spec.inputs), list(spec.outputs)), name
        assert onnx.load(bundle / spec.path, load_external_data=False).graph.name == name


def test_a_session_takes_every_graph(bundle):
    sessions = Sessions(bundle, read_bundle(bundle), "cpu")
    for name in sessions.specs:
        assert sessions.open(name)


def test_targets_of_a_model_of_one_image(small_model_of_one, tmp_path):
    """As many targets as images go into the features graph, and any number into the score graph."""
    bundle = export(small_model_of_one, tmp_path / "one.sise").path
    targets = {name: written(bundle / f"{name}.onnx")[0][-1] for name in ("features", "heads/03", "score")}
    assert targets == {
        "features": TensorSpec("targets", "int64", (1,)),
        "heads/03": TensorSpec("targets", "int64", (1,)),
        "score": TensorSpec("targets", "int64", ("T",)),
    }
    assert written(bundle / "features.onnx")[0][0] == TensorSpec("images", "float32", (1, 3, 32, 32))
    assert {out.shape[0] for out in written(bundle / "score.onnx")[1]} == {1}


def test_graphs_of_a_small_bundle(small_bundle):
    specs = graph_specs(read_bundle(small_bundle))
    pieces = [f"{folder}/{i:02d}" for folder in ("blocks", "heads") for i in (1, 2, 3)]
    linked = ["features", "score", "classifier", "forward", "last_block_gradient", "image_gradient"]
    assert list(specs) == linked + pieces
    names = [tensor.name for tensor in specs["features"].outputs]
    assert names[3:] == ["alpha_1", "alpha_2", "alpha_3", "logits"]
    assert specs["heads/02"] == GraphSpec(
        "heads/02",
        "heads/02.onnx",
        (specs["features"].outputs[1], TensorSpec("gradient_3", "float32", ("N", 16, 8, 8))),
        (TensorSpec("gradient_2", "float32", ("N", 12, 16, 16)), TensorSpec("alpha_2", "float32", ("N", 12))),
    )


def test_a_bundle_without_a_graph_has_no_spec_for_it(small_bundle):
    manifest = read_bundle(small_bundle)
    bare = replace(manifest, graphs=replace(manifest.graphs.without(["image_gradient"]), heads=()))
    specs = graph_specs(bare)
    assert {"image_gradient", "heads/01"}.isdisjoint(specs)
    assert [tensor.name for tensor in specs["features"].inputs] == ["images"]
    assert not any(tensor.name.startswith("alpha") for tensor in specs["features"].outputs)


CHANGES = {
    "another name": lambda value: setattr(value, "name", "other"),
    "another type": lambda value: setattr(value.type.tensor_type, "elem_type", TensorProto.DOUBLE),
    "another extent": lambda value: setattr(value.type.tensor_type.shape.dim[1], "dim_value", 4),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_not_as_its_spec_says(small_bundle, tmp_path, change):
    folder = Path(shutil.copytree(small_bundle, tmp_path / "copy.sise"))
    path = folder / "forward.onnx"
    model = onnx.load(path, load_external_data=False)
    CHANGES[change](model.graph.input[0])
    taken = model.graph.input[0].name
    for node in model.graph.node:  # the graph itself stays one that ONNX Runtime loads
        node.input[:] = ["as_before" if name == "images" else name for name in node.input]
    before = helper.make_node("Cast", [taken], ["as_before"], to=TensorProto.FLOAT)
    if change == "another extent":
        before = helper.make_node("Slice", [taken, "start", "end", "axis"], ["as_before"])
        for name, value in (("start", 0), ("end", 3), ("axis", 1)):
            model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], [value]))
    model.graph.node.insert(0, before)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=r"forward\.onnx does not fit the manifest: export"):
        Sessions(folder, read_bundle(small_bundle), "cpu").open("forward")


def test_the_first_extent_is_the_user_s(small_bundle):
    spec = graph_specs(read_bundle(small_bundle))["score"].inputs[2]
    assert spec.fits("targets", "int64", ("N",)), "as older bundles call it"
    assert not spec.fits("targets", "int32", ("N",))
    assert not spec.fits("targets", "int64", ("N", 2))


def documented(tensors: tuple[TensorSpec, ...]) -> str:
    """Tensors as the documentation writes them; what is no float32 says so."""
    kinds = ("" if tensor.dtype == "float32" else f" {tensor.dtype}" for tensor in tensors)
    shapes = (", ".join(map(str, tensor.shape)) for tensor in tensors)
    return ", ".join(f"`{t.name}`{k} ({s})" for t, k, s in zip(tensors, kinds, shapes, strict=True))


def test_the_documented_table_is_that_of_the_specs(small_bundle):
    """The specs of a network of two blocks, with letters in place of extents."""
    manifest = read_bundle(small_bundle)
    blocks = tuple(Block("", f"A_{i}", f"K_{i}", f"h_{i}", f"w_{i}") for i in (1, 2))
    paths = {name: getattr(manifest.graphs, name)[:2] for name in ("blocks", "heads")}
    symbolic = replace(
        manifest,
        preprocess=SimpleNamespace(input_size=("C", "H", "W")),
        classes="classes",
        blocks=blocks,
        graphs=replace(manifest.graphs, **paths),
    )
    table = [
        f"| `{spec.path}` | {documented(spec.inputs)} | {documented(spec.outputs)} |"
        for spec in graph_specs(symbolic).values()
    ]
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    assert "\n".join(["| graph | takes | gives |", "|---|---|---|", *table, ""]) in text
