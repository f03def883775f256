"""Weights in other files: the same bundle wherever they lie, and a clear refusal where they do not."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export import export
from sise_rt.export.intake.external import LARGE, external_files, source_sha256, take_out
from sise_rt.export.intake.sources import open_source
from sise_rt.export.intake.weight_files import mapped
from sise_rt.export.ir.mapping import PAGE, mapped_offsets, unload

from sise_rt.errors import ModelError

KERNEL = "b.conv2.weight"


def save(model, path, *, one_file=True, location="w.bin", threshold=0) -> Path:
    """Save a copy of a model with external weights; with `one_file` off, each in a file of its own."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    (path.parent / location).parent.mkdir(parents=True, exist_ok=True)
    onnx.save(
        copy,
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=one_file,
        location=location if one_file else None,
        size_threshold=threshold,
    )
    return path


def edit(path, name=KERNEL, **changed) -> None:
    """Change entries of a tensor's external data; None takes one away."""
    model = onnx.load(path, load_external_data=False)
    tensor = next(w for w in model.graph.initializer if w.name == name)
    entries = {e.key: e.value for e in tensor.external_data} | changed
    del tensor.external_data[:]
    for key, value in entries.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    path.write_bytes(model.SerializeToString())


def refusal(path, scratch) -> str:
    with pytest.raises(ModelError) as caught:
        open_source(path, scratch)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.fixture
def model(small_model) -> onnx.ModelProto:
    return onnx.load(small_model)


@pytest.fixture
def scratch(tmp_path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def spread(model, path):
    save(model, path, one_file=False)


def in_subfolder(model, path):
    save(model, path, location="weights/deep/w.bin")


def large_ones_only(model, path):
    save(model, path, threshold=5000)


def in_a_linked_file(model, path):
    save(model, path)
    (path.parent / "w.bin").rename(path.parent / "other.bin")
    (path.parent / "w.bin").symlink_to("other.bin")


def without_lengths(model, path):
    save(model, path)
    for tensor in onnx.load(path, load_external_data=False).graph.initializer:
        edit(path, tensor.name, length=None)


@pytest.mark.parametrize(
    "layout", [save, spread, in_subfolder, large_ones_only, in_a_linked_file, without_lengths]
)
def test_the_bundle_is_the_same_wherever_the_weights_lie(model, small_bundle, tmp_path, layout):
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "m.onnx"
    layout(model, path)
    assert any(
        w.data_location == TensorProto.EXTERNAL
        for w in onnx.load(path, load_external_data=False).graph.initializer
    )
    report = export(path, tmp_path / "m.sise")
    for name in ("weights.bin", "features.onnx", "parity.npz"):
        assert (report.path / name).read_bytes() == (small_bundle / name).read_bytes(), name


@pytest.mark.parametrize("opset", [11, 13])
def test_older_operator_sets(cnn, tmp_path, opset):
    embedded = cnn(tmp_path / "embedded.onnx", opset=opset, batch=1)
    (tmp_path / "model").mkdir()
    outside = save(onnx.load(embedded), tmp_path / "model" / "m.onnx")
    expected, found = (export(path, tmp_path / f"{path.stem}.sise") for path in (embedded, outside))
    assert found.manifest.files["weights.bin"] == expected.manifest.files["weights.bin"]
    assert found.manifest.parity.errors == expected.manifest.parity.errors


def test_the_sha256_covers_every_file(model, small_model, tmp_path, scratch):
    plain = hashlib.sha256(small_model.read_bytes()).hexdigest()
    assert open_source(small_model, scratch).sha256 == plain
    (tmp_path / "model").mkdir()
    path = save(model, tmp_path / "model" / "m.onnx", one_file=False)
    files = external_files(onnx.load(path, load_external_data=False), path.parent)
    assert {*files.values(), path} == {p for p in path.parent.iterdir()}
    contents = [path.read_bytes(), *(files[name].read_bytes() for name in sorted(files))]
    lines = "".join(hashlib.sha256(content).hexdigest() + "\n" for content in contents)
    before = open_source(path, scratch).sha256
    assert before == source_sha256(path, files) == hashlib.sha256(lines.encode()).hexdigest()
    data = bytearray(files[KERNEL].read_bytes())
    data[3] ^= 1
    files[KERNEL].write_bytes(data)
    assert open_source(path, scratch).sha256 != before


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"offset": 10**9}, "w.bin has .* bytes and should have .* from byte 1000000000"),
        ({"offset": -4}, "from byte -4"),
        ({"offset": "here"}, "damaged: invalid literal"),
        ({"length": 4}, f"weight '{KERNEL}' is damaged: it has 4 bytes in .*w.bin, its shape needs"),
        ({"length": 10**30}, "damaged: it has 1000000000000000000000000000000 bytes"),
        ({"location": "missing.bin"}, "no such file .*missing.bin"),
        ({"location": None}, "'' does not lie in the model's folder"),
        ({"location": ""}, "'' does not lie in the model's folder"),
        ({"location": "."}, "no such file"),
        ({"location": "../model/w.bin"}, "'../model/w.bin' does not lie in the model's folder"),
        ({"location": "..\\w.bin"}, "does not lie in the model's folder"),
        ({"location": "C:\\w.bin"}, "does not lie in the model's folder"),
        ({"location": "/etc/hostname"}, "'/etc/hostname' does not lie in the model's folder"),
        ({"location": "linked.bin"}, "'linked.bin' does not lie in the model's folder; copy it there"),
        ({"location": "folder/w.bin"}, "'folder/w.bin' does not lie in the model's folder"),
        ({"location": "loop.bin"}, "external weights cannot be loaded"),
        ({"location": "w.bin\0"}, "does not lie in the model's folder"),
        ({"location": "x" * 5000}, "external weights cannot be loaded"),
    ],
)
def test_weights_that_are_not_there(model, tmp_path, scratch, changed, says):
    folder = tmp_path / "model"
    folder.mkdir()
    path = save(model, folder / "m.onnx")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "w.bin").write_bytes((folder / "w.bin").read_bytes())
    (folder / "linked.bin").symlink_to(outside / "w.bin")
    (folder / "folder").symlink_to(outside)
    (folder / "loop.bin").symlink_to("loop.bin")
    edit(path, **changed)
    message = refusal(path, scratch)
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(message)


def test_a_file_that_was_cut_off(model, tmp_path, scratch):
    path = save(model, tmp_path / "m.onnx")
    data = (tmp_path / "w.bin").read_bytes()
    for kept in (0, 100, len(data) - 1):
        (tmp_path / "w.bin").write_bytes(data[:kept])
        assert f"w.bin has {kept} bytes and should have" in refusal(path, scratch)


def test_nan_outside_the_model(model, tmp_path, scratch):
    path = save(model, tmp_path / "m.onnx")
    tensor = next(w for w in onnx.load(path, load_external_data=False).graph.initializer if w.name == KERNEL)
    place = {e.key: int(e.value) for e in tensor.external_data if e.key != "location"}
    with open(tmp_path / "w.bin", "r+b") as file:
        file.seek(place["offset"] + place["length"] - 4)
        file.write(np.float32(np.nan).tobytes())
    assert f"weight '{KERNEL}' holds NaN" in refusal(path, scratch)


# ---------------------------------------------------------------------------------------------- taking out


def tensor(name, values):
    return numpy_helper.from_array(np.asarray(values), name)


def outline(nodes, weights, folder, **options) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 400])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    return take_out(helper.make_model(graph, ir_version=8), folder, folder / "out.bin", **options)


RAMP = np.arange(400, dtype=np.float32)


def test_what_is_large_goes_out_and_what_is_small_stays(tmp_path):
    floats = TensorProto(name="floats", data_type=TensorProto.FLOAT, dims=[20, 20], float_data=RAMP)
    constant = helper.make_node("Constant", [], ["c"], value=tensor("any", RAMP + 1))
    small = helper.make_node("Constant", [], ["s"], value=tensor("any", RAMP[:8]))
    weights = [tensor("raw", RAMP), floats, tensor("little", RAMP[:8]), tensor("flags", np.ones(2000, bool))]
    model = outline([constant, small, helper.make_node("Add", ["x", "c"], ["y"])], weights, tmp_path)
    found = {w.name: w for w in model.graph.initializer}
    assert list(found) == ["raw", "floats", "little", "flags", "c"]
    assert [node.output[0] for node in model.graph.node] == ["s", "y"]
    outside = {name for name, w in found.items() if w.data_location == TensorProto.EXTERNAL}
    assert outside == {"raw", "floats", "flags", "c"}
    expected = {"raw": RAMP, "floats": RAMP.reshape(20, 20), "little": RAMP[:8], "flags": np.ones(2000, bool)}
    for name, value in (expected | {"c": RAMP + 1}).items():
        array = mapped(found[name], tmp_path)
        assert array.dtype == value.dtype
        np.testing.assert_array_equal(array, value)
        assert isinstance(array, np.memmap) == (name in outside)
        assert not isinstance(array, np.memmap) or array.offset % PAGE == 0
    assert model.ByteSize() < 1500


def external(name, dims, **place):
    value = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims)
    value.data_location = TensorProto.EXTERNAL
    for key, entry in place.items():
        value.external_data.add(key=key, value=str(entry))
    return value


def test_shared_data_is_taken_out_once_and_overlaps_not_without_end(tmp_path):
    RAMP.tofile(tmp_path / "w.bin")
    add = helper.make_node("Sum", ["x", "a", "b"], ["y"])
    twins = [external(name, [400], location="w.bin") for name in "ab"]
    model = outline([add], twins, tmp_path)
    assert (tmp_path / "out.bin").stat().st_size == RAMP.nbytes
    for weight in model.graph.initializer:
        np.testing.assert_array_equal(mapped(weight, tmp_path), RAMP)
    shifted = [external(f"w{i}", [300], location="w.bin", offset=4 * i) for i in range(100)]
    with pytest.raises(ModelError, match=r"the weights in .*w\.bin overlap"):
        outline([add], shifted, tmp_path)


def test_external_data_in_a_subgraph_is_taken_in(tmp_path):
    RAMP.tofile(tmp_path / "w.bin")
    constant = helper.make_node("Constant", [], ["inner"], value=external("any", [400], location="w.bin"))
    result = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [400])
    branch = helper.make_graph([constant], "branch", [], [result])
    choice = helper.make_node("If", ["flag"], ["y"], then_branch=branch, else_branch=branch)
    model = outline([choice], [tensor("flag", True)], tmp_path)
    for a in model.graph.node[0].attribute:
        value = a.g.node[0].attribute[0].t
        assert value.data_location == TensorProto.DEFAULT
        np.testing.assert_array_equal(numpy_helper.to_array(value), RAMP)


@pytest.mark.parametrize(
    ("weight", "says"),
    [
        (
            TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[400], raw_data=bytes(1596)),
            "'w' is damaged",
        ),
        (
            TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[400], float_data=RAMP[1:]),
            "'w' is damaged",
        ),
        (TensorProto(name="w", data_type=999, dims=[400], raw_data=bytes(1600)), "'w' is damaged"),
        (external("w", [-400], location="w.bin"), r"'w' is damaged: FLOAT \[-400\] has no size"),
        (
            external("w", [2**40, 2**40], location="w.bin"),
            "should have 4835703278458516698824704 from byte 0",
        ),
    ],
)
def test_weights_that_do_not_fit_their_shape(tmp_path, weight, says):
    RAMP.tofile(tmp_path / "w.bin")
    with pytest.raises(ModelError, match=says):
        outline([helper.make_node("Add", ["x", "w"], ["y"])], [weight], tmp_path)


# ---------------------------------------------------------------------------------------------- mapped arrays


def test_only_whole_mapped_arrays_have_an_offset(tmp_path):
    model = outline(
        [helper.make_node("Add", ["x", "w"], ["y"])], [tensor("w", RAMP.reshape(20, 20))], tmp_path
    )
    whole = mapped(model.graph.initializer[0], tmp_path)
    weights = {"whole": whole, "turned": whole.T, "part": whole[2:], "own": RAMP, "sum": whole + 1}
    assert mapped_offsets(weights) == (tmp_path / "out.bin", {"whole": 0})
    assert mapped_offsets({"own": RAMP}) == (None, {})
    unload(weights.values())
    np.testing.assert_array_equal(weights["turned"], RAMP.reshape(20, 20).T)


def test_values_that_share_a_byte_are_not_mapped(tmp_path):
    weight = external("w", [2 * LARGE], location="w.bin")
    weight.data_type = TensorProto.INT4
    (tmp_path / "w.bin").write_bytes(bytes(LARGE))
    with pytest.raises(ModelError, match="'w': several values share a byte"):
        mapped(weight, tmp_path)
