"""Preprocessing as ONNX operators: a picture of any size becomes the model's input inside the graph.

The steps, and their roundings, are those of `sise_rt.pictures.placement.preprocess` for pictures of 8 bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sise_rt.bundle import Preprocess
from sise_rt.errors import ModelError

from ..ir.builder import Builder
from ..ir.network import OWN_PREFIX
from ..ir.nodes import rewire, subgraphs

# Pillow's filters average where they shrink, and its bicubic has a = -0.5; ONNX Runtime's has Pillow's
# arithmetic in 8 bits. OpenCV's `linear` does not average.
RESIZING: dict[str, dict[str, Any]] = {
    "bilinear": {"mode": "linear", "antialias": 1, "exclude_outside": 1},
    "bicubic": {"mode": "cubic", "antialias": 1, "cubic_coeff_a": -0.5, "exclude_outside": 1},
    "nearest": {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
    "linear": {"mode": "linear"},
}
LUMA = np.array([19595, 38470, 7471], np.int32)[None, :, None, None]  # as Pillow has it, of 65536
PREPARED = f"{OWN_PREFIX}prepared"


def refuse_preparation(spec: Preprocess) -> None:
    """Refuse a preprocessing that the graph cannot do.

    Raises:
        ModelError: says which of its settings.
    """
    outside = {
        "interpolation": spec.interpolation not in RESIZING and spec.interpolation,
        "crop_mode": spec.crop_mode == "cut" and spec.crop_mode,
        "bit_depth": spec.bit_depth != 8 and spec.bit_depth,
        "input_size": spec.input_size[0] not in (1, 3) and f"{spec.input_size[0]} channels",
    }
    for setting, value in outside.items():
        if value:
            raise ModelError(
                f"preprocessing with {setting.replace('_', ' ')} {value} cannot be put inside of the graph: "
                "leave it to the caller",
                settings=(setting,),
            )


def with_preprocessing(model: onnx.ModelProto, spec: Preprocess) -> onnx.ModelProto:
    """A model whose `image` is uint8 (height, width, 3) RGB of any size; it is changed.

    Args:
        model: whose `image` is (1, C, H, W) float32.
        spec: what is done to pictures.

    Raises:
        ModelError: the graph cannot do that.
    """
    refuse_preparation(spec)
    op = Builder(f"{OWN_PREFIX}prepare/", {}, {})
    channels, height, width = spec.input_size
    original = op.Slice(op.Shape("image"), op.constant([0]), op.constant([2]))
    size = _resized(op, original, spec)
    planes = op.Unsqueeze(op.Transpose("image", perm=[2, 0, 1]), op.constant([0]))
    if channels == 1:
        weighted = op.ReduceSum(
            op.Mul(op.Cast(planes, to=TensorProto.INT32), op.constant(LUMA)), op.constant([1]), keepdims=1
        )
        half, whole = (op.constant(np.array(value, np.int32)) for value in (2**15, 2**16))
        planes = op.Cast(op.Div(op.Add(weighted, half), whole), to=TensorProto.UINT8)
    pixels = _at_size(op, planes, size, spec)
    start = _crop_start(op, size, spec)
    end = op.Add(start, op.constant([height, width]))
    pixels = op.Slice(pixels, start, end, op.constant([2, 3]))
    if spec.color == "BGR":
        pixels = op.Gather(pixels, op.constant([2, 1, 0]), axis=1)
    values = op.Div(op.Cast(pixels, to=TensorProto.FLOAT), op.constant(float(spec.scale)))
    mean, std = (op.constant(np.array(v, np.float32)[None, :, None, None]) for v in (spec.mean, spec.std))
    op.Div(op.Sub(values, mean), std, names=(PREPARED,))
    _rename(model.graph.node, {"image": PREPARED})
    following = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*op.nodes, *following])
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in op.constants.items()
    )
    picture = helper.make_tensor_value_info("image", TensorProto.UINT8, ["height", "width", 3])
    next(value for value in model.graph.input if value.name == "image").CopyFrom(picture)
    return model


def _resized(op: Builder, original: str, spec: Preprocess) -> str:
    """The picture's size before cropping, int64 (2,)."""
    rows, columns = spec.frame
    exact = op.Cast(original, to=TensorProto.DOUBLE)
    frame = op.constant(np.array([rows, columns], np.float64))
    if spec.crop_mode == "squash":
        size = op.constant([rows, columns])
    elif rows == columns:
        short = op.ReduceMin(exact, op.constant([0]), keepdims=1)
        size = op.Cast(op.Floor(op.Div(op.Mul(frame, exact), short)), to=TensorProto.INT64)
    else:
        ratio = op.ReduceMin(op.Div(exact, frame), op.constant([0]), keepdims=1)
        size = op.Cast(op.Round(op.Div(exact, ratio)), to=TensorProto.INT64)
    if not spec.crop_assumed:
        return size
    same = op.Cast(op.Equal(original, op.constant(list(spec.input_size[1:]))), to=TensorProto.INT32)
    stays = op.Greater(op.ReduceMin(same, op.constant([0]), keepdims=1), op.constant(np.array(0, np.int32)))
    return op.Where(stays, original, size)


def _at_size(op: Builder, planes: str, size: str, spec: Preprocess) -> str:
    how = RESIZING[spec.interpolation] | {"coordinate_transformation_mode": "half_pixel", "axes": [2, 3]}
    if spec.interpolation != "linear":
        return op.Resize(planes, None, None, size, **how)
    resized = op.Resize(op.Cast(planes, to=TensorProto.FLOAT), None, None, size, **how)
    return op.Round(resized)


def _crop_start(op: Builder, size: str, spec: Preprocess) -> str:
    left = op.Sub(size, op.constant(list(spec.input_size[1:])))
    half = op.Mul(op.Cast(left, to=TensorProto.DOUBLE), op.constant(np.array(0.5)))
    return op.Cast(op.Floor(half) if spec.crop_floor else op.Round(half), to=TensorProto.INT64)


def _rename(nodes: Iterable[onnx.NodeProto], names: dict[str, str]) -> None:
    """Rename what nodes read, and what their subgraphs do."""
    nodes = list(nodes)
    rewire(nodes, names)
    for node in nodes:
        for graph in subgraphs(node):
            _rename(graph.node, names)
