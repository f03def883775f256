"""Which networks' features graphs take several targets of one image."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export import export

import sise_rt
from sise_rt.phases.features import extract


def write_windows(path: Path) -> Path:
    """A network that attends to itself within four windows of a map, which join the batch."""
    rng = np.random.default_rng(3)
    weights = {
        "stem": 0.3 * rng.standard_normal((8, 3, 3, 3)),
        "conv": 0.2 * rng.standard_normal((8, 8, 3, 3)),
        "dense": rng.standard_normal((8, 4)),
        "apart": np.array([-1, 8, 2, 4, 2, 4]),
        "tokens": np.array([-1, 8, 16]),
        "joined": np.array([-1, 2, 2, 8, 4, 4]),
        "map": np.array([-1, 8, 8, 8]),
    }
    nodes = [
        helper.make_node("Conv", ["image", "stem"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "conv"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Reshape", ["r", "apart"], ["r6"]),
        helper.make_node("Transpose", ["r6"], ["w6"], perm=[0, 2, 4, 1, 3, 5]),
        helper.make_node("Reshape", ["w6", "tokens"], ["w"]),
        helper.make_node("Softmax", ["w"], ["s"], axis=2),
        helper.make_node("Mul", ["w", "s"], ["m"]),
        helper.make_node("Reshape", ["m", "joined"], ["j6"]),
        helper.make_node("Transpose", ["j6"], ["t6"], perm=[0, 3, 1, 4, 2, 5]),
        helper.make_node("Reshape", ["t6", "map"], ["t"]),
        helper.make_node("GlobalAveragePool", ["t"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "dense"], ["z"]),
    ]
    graph = helper.make_graph(
        nodes,
        "windows",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 4])],
        [
            numpy_helper.from_array(v.astype(np.float32 if v.dtype.kind == "f" else np.int64), name)
            for name, v in weights.items()
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.mark.parametrize(("windows", "passes"), [(False, 1), (True, 3)])
def test_a_forward_pass_is_shared_where_the_gradients_allow_it(cnn, tmp_path, windows, passes):
    model = write_windows(tmp_path / "m.onnx") if windows else cnn(tmp_path / "m.onnx", size=16)
    engine = sise_rt.load(export(model, tmp_path / "m.sise", activation="softmax").path, "cpu").engine
    assert engine.manifest.input.batch is None
    assert engine.manifest.shared_forward is not windows
    image = np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype(np.float32)
    together = extract(engine, image, np.array([2, 0, 2]))
    assert together.passes == passes
    for row, target in enumerate((2, 0, 2)):
        alone = extract(engine, image, np.array([target]))
        for a, b in zip(together.alphas, alone.alphas, strict=True):
            np.testing.assert_allclose(a[row], b[0], 1e-5, 1e-8)


def test_there_is_nothing_to_share_without_gradients(cnn, tmp_path):
    bundle = export(cnn(tmp_path / "m.onnx", size=16), tmp_path / "m.sise", gradients=False)
    assert not bundle.manifest.shared_forward
