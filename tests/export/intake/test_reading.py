"""Any model in the form that gradients can be added to."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.intake.reading import read_model

from sise_rt.errors import ModelError


def model_of(nodes, opset=18, ir_version=8, **rest):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    return helper.make_model(
        helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", opset)],
        ir_version=ir_version, **rest,
    )  # fmt: skip


def test_a_model_is_copied_as_it_is():
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], opset=21, ir_version=10, producer_name="them")
    read = read_model(model)
    assert read is not model
    assert read == model


def test_a_file_is_read_with_its_weights(small_model, tmp_path):
    onnx.save(onnx.load(small_model), tmp_path / "m.onnx", save_as_external_data=True, size_threshold=0)
    read = read_model(tmp_path / "m.onnx")
    assert {w.data_location for w in read.graph.initializer} == {TensorProto.DEFAULT}
    expected = {w.name: numpy_helper.to_array(w) for w in onnx.load(small_model).graph.initializer}
    for weight in read.graph.initializer:
        assert (numpy_helper.to_array(weight) == expected.pop(weight.name)).all()
    assert not expected


def test_an_old_opset_is_raised_and_tensors_keep_their_names():
    node = helper.make_node("Squeeze", ["x"], ["y"], axes=[1])
    old = model_of([node], opset=9, ir_version=4)
    del old.graph.input[0].type.tensor_type.shape.dim[:]
    for extent in (2, 1):
        old.graph.input[0].type.tensor_type.shape.dim.add(dim_value=extent)
    read = read_model(old)
    onnx.checker.check_model(read, full_check=True)
    assert [o.version for o in read.opset_import] == [18]
    assert read.graph.node[-1].output == ["y"]
    assert len(read.graph.node[-1].input) == 2
    assert old.opset_import[0].version == 9


def test_what_cannot_be_raised_is_refused():
    old = model_of([helper.make_node("Nothing", ["x"], ["y"])], opset=9)
    with pytest.raises(ModelError, match="opset 9 cannot be raised to 18"):
        read_model(old)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x08"])
def test_what_is_no_model_is_refused(content, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"is no ONNX model|is it an ONNX model"):
        read_model(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"no such model file: .*nowhere\.onnx"):
        read_model(tmp_path / "nowhere.onnx")
    with pytest.raises(ModelError, match="no such model file"):
        read_model(str(tmp_path))


def test_lost_weights_are_named(tmp_path):
    weight = numpy_helper.from_array(np.zeros(400, np.float32), "w")
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])])
    model.graph.initializer.append(weight)
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(ModelError, match=r"m\.onnx.*w\.bin"):
        read_model(tmp_path / "m.onnx")


def test_a_model_above_two_gibibytes_is_refused(monkeypatch):
    monkeypatch.setattr(onnx.checker, "MAXIMUM_PROTOBUF", 10)
    with pytest.raises(ModelError, match="larger than 2 GiB: leave its weights outside"):
        read_model(model_of([helper.make_node("Relu", ["x"], ["y"])]))
