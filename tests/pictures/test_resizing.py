"""Resizing maps, against ONNX's own definition of a bilinear Resize."""

import numpy as np
import pytest

from sise_rt.pictures.resizing import resize_by_neighbours, resize_map

onnx = pytest.importorskip("onnx")


def by_onnx(map_, size):
    """The reference evaluator's bilinear Resize between pixel centres."""
    from onnx.reference import ReferenceEvaluator

    resize = onnx.helper.make_node(
        "Resize", ["x", "", "", "size"], ["y"], mode="linear", coordinate_transformation_mode="half_pixel"
    )
    ends = [onnx.helper.make_tensor_value_info(name, 1, None) for name in "xy"]
    sizes = onnx.numpy_helper.from_array(np.array(size), "size")
    graph = onnx.helper.make_graph([resize], "g", ends[:1], ends[1:], [sizes])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    return ReferenceEvaluator(model).run(None, {"x": map_})[0]


@pytest.mark.parametrize("size", [(12, 14), (4, 3), (12, 3), (7, 7)])
def test_bilinear_also_where_it_shrinks(size):
    map_ = np.random.default_rng(0).standard_normal((7, 7)).astype(np.float32)
    np.testing.assert_allclose(resize_by_neighbours(map_, size), by_onnx(map_, size), atol=1e-5)
    if min(size) >= 7:
        # To the last digits, which differ between versions of OpenCV.
        np.testing.assert_allclose(resize_by_neighbours(map_, size), resize_map(map_, size), atol=1e-6)
