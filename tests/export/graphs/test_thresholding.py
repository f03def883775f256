"""Otsu's threshold, normalising and fusion as ONNX operators, against scikit-image and NumPy."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.graphs.thresholding import activated_regions, fused, normalised
from sise_rt.export.ir.builder import Builder
from skimage.filters import threshold_otsu

from sise_rt.phases import fusion

rng = np.random.default_rng(11)
kinds = {"f": TensorProto.DOUBLE, "b": TensorProto.BOOL}


def runs(op, inputs, outputs):
    """What a builder's nodes give: `inputs` by name, `outputs` by name with their element types."""
    graph = helper.make_graph(
        op.nodes,
        "made",
        [helper.make_tensor_value_info(k, kinds[v.dtype.kind], v.shape) for k, v in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in op.constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(list(outputs), inputs)


def smooth(size):
    coarse = rng.standard_normal((size // 8 + 2, size // 8 + 2))
    return fusion.normalise(
        coarse.repeat(8, axis=0).repeat(8, axis=1)[:size, :size]
        + rng.standard_normal((size, size)) * rng.choice([0, 1e-3, 0.1, 1])
    )


@pytest.mark.parametrize("size", [16, 64, 300])
def test_regions_are_scikit_image_s(size):
    maps = np.array([smooth(size) ** rng.choice([0.3, 1, 4]) for _ in range(100)])
    op = Builder("t/", {}, {})
    regions = activated_regions(op, "maps", len(maps), size * size)
    (found,) = runs(op, {"maps": maps}, {regions: kinds["b"]})
    np.testing.assert_array_equal(found, [map_ > threshold_otsu(map_, nbins=256) for map_ in maps])


@pytest.mark.parametrize("values", [[0, 1], [0, 0, 0, 1], [0, 0.5, 1], [0, 1 / 256, 1], [0, 255 / 256, 1]])
def test_regions_of_few_values(values):
    map_ = np.array(values, np.float64)[None].repeat(2, axis=0)
    op = Builder("t/", {}, {})
    (found,) = runs(op, {"maps": map_[None]}, {activated_regions(op, "maps", 1, map_.size): kinds["b"]})
    np.testing.assert_array_equal(found[0], map_ > threshold_otsu(map_, nbins=256))


def test_normalised():
    maps = rng.standard_normal((6, 5, 7)) * 10.0 ** rng.integers(-30, 30, (6, 1, 1))
    maps[1], maps[3] = 4.0, np.nan
    maps[4] = 1 + 1e-8 * maps[4] / np.abs(maps[4]).max()
    op = Builder("t/", {}, {})
    found, shaped = runs(op, {"maps": maps}, dict(zip(normalised(op, "maps"), kinds.values(), strict=True)))
    assert shaped.ravel().tolist() == [True, False, True, False, False, True]
    for own, map_ in zip(found, maps, strict=True):
        expected = None if np.isnan(map_).any() else fusion.normalise(map_)
        np.testing.assert_allclose(own, np.zeros_like(map_) if expected is None else expected, atol=1e-15)


@pytest.mark.parametrize("usable", [(1, 1, 1, 1), (0, 1, 0, 1), (1, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 0)])
def test_fused(usable):
    usable = np.array(usable, bool)
    maps = np.array([smooth(32) for _ in usable]) * usable[:, None, None]
    regions = (
        np.array([fusion.otsu(map_) if use else map_ for map_, use in zip(maps, usable, strict=True)]) > 0
    )
    op = Builder("t/", {}, {})
    given = {"maps": maps, "usable": usable[:, None, None], "regions": regions}
    (found,) = runs(op, given, {fused(op, "maps", "usable", "regions", len(maps)): kinds["f"]})
    expected = fusion.fuse(list(maps[usable]), fusion.otsu) if usable.any() else np.zeros((32, 32))
    np.testing.assert_array_equal(found[0], expected)
