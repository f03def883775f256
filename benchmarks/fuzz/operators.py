"""Operators that ask for what cannot be: absurd sizes, axes that are not there, division by zero."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx

Step = tuple[str, tuple[Any, ...], dict[str, Any]]
"""Operator, inputs, attributes. An input is the tensor "x" on the image's way, ">" for what the operator
before gives, "_" for none, or a constant."""
I64, F32, U8 = np.int64, np.float32, np.uint8


def _step(op: str, *inputs: Any, **attributes: Any) -> Step:
    return op, inputs, attributes


def _added(*steps: Step) -> list[Step]:
    """Steps whose result has another shape than x: its mean is added to x."""
    mean = _step("ReduceMean", ">", keepdims=0)
    return [*steps, _step("Cast", ">", to=1), mean, _step("Add", "x", ">")]


def hostile_operators(rng: random.Random) -> list[Step]:
    """One or a few operators in a row; the last one's result takes the place of x."""
    n = rng.choice((0, -1, 1 << 20, 1 << 31, 1 << 36, 1 << 45, 1 << 62))
    some = rng.choice((0, -1, 3, 1 << 20, 1 << 31, 1 << 62, -(1 << 63)))
    choices: list[list[Step]] = [
        _added(_step("ConstantOfShape", I64([n]))),
        _added(_step("ConstantOfShape", I64([n, n]))),
        _added(_step("ConstantOfShape", I64([1 << 15] * 4))),
        [_step("Expand", "x", I64([1, 1, n, 1]))],
        _added(_step("Expand", F32([1]), I64([n]))),
        [_step("Expand", "x", I64([1, 1, 1 << 12, 1 << 12, 16, 16]))],
        [_step("Tile", "x", I64([1, 1, n, 1]))],
        _added(_step("Tile", F32([1]), I64([n]))),
        _added(_step("Range", I64(0), I64(n), I64(1))),
        _added(_step("Range", F32(0), F32(1e30), F32(rng.choice((0, 1e-30, np.nan))))),
        [_step("Pad", "x", I64([0, 0, n, 0, 0, 0, 0, 0]), mode=rng.choice(("constant", "reflect", "edge")))],
        _added(_step("Pad", F32([1]), I64([n, n]))),
        [_step("Resize", "x", "_", F32([1, 1, rng.choice((0, -1, 1e-9, 1e9, np.nan, np.inf)), 1]))],
        [_step("Resize", "x", "_", "_", I64([1, 3, n, 1]), mode=rng.choice(("nearest", "linear", "cubic")))],
        _added(_step("RandomNormal", shape=[n])),
        _added(_step("RandomUniform", shape=[1 << 20, 1 << 20])),
        _added(_step("OneHot", I64([1, 2]), I64(n), F32([0, 1]))),
        _added(_step("Div", I64([1]), I64([0]))),
        _added(_step("Div", I64([-(1 << 63)]), I64([-1]))),
        _added(_step("Mod", I64([1]), I64([0]))),
        _added(_step("Shape", "x"), _step("Div", ">", I64([0]))),
        _added(_step("Shape", "x"), _step("Mod", ">", I64([0]))),
        _added(_step("Cast", "x", to=7), _step("Div", I64([5]), ">")),
        _added(_step("Shape", "x"), _step("Mul", ">", I64([n])), _step("ConstantOfShape", ">")),
        _added(_step("BitShift", np.uint64([1]), np.uint64([200]), direction="LEFT")),
        _added(_step("Pow", I64([2]), I64([some]))),
        [_step("DepthToSpace", "x", blocksize=some)],
        [_step("SpaceToDepth", "x", blocksize=some)],
        [_step("Gather", "x", I64([some]), axis=rng.choice((0, 1, 3, 9, -9)))],
        [_step("GatherND", "x", I64([[some, some]]))],
        [_step("GatherElements", "x", I64([[[[some]]]]), axis=2)],
        [_step("ScatterND", "x", I64([[some, 0, 0, 0]]), F32([1]))],
        [_step("ScatterElements", "x", I64([[[[some]]]]), F32([[[[1]]]]), axis=3)],
        [_step("Slice", "x", I64([some]), I64([n]), I64([2]), I64([rng.choice((0, 1, -1, some))]))],
        [_step("Slice", "x", I64([0]), I64([n]), I64([some]), I64([1]))],
        [
            _step(
                "Transpose",
                "x",
                perm=rng.choice(([0, 0, 0, 0], [0, 1, 2, 9], [-1, 0, 1, 2], [0], [some] * 4)),
            )
        ],
        [_step("Reshape", "x", I64(rng.choice(([n, -1], [-1, -1], [0] * 9, [some], []))))],
        [_step("Unsqueeze", "x", I64(rng.choice(([0] * 3, [some], list(range(99))))))],
        [_step("Squeeze", "x", I64([some]))],
        [_step("Split", "x", num_outputs=rng.choice((0, -1, 1 << 31, 1 << 62)), axis=1)],
        [_step("Split", "x", I64([some, 3]), axis=1)],
        [_step("TopK", "x", I64([some]), axis=rng.choice((1, some)))],
        [_step("ConvTranspose", "x", F32(np.ones((3, 3, 2, 2))), strides=[some, 1])],
        [_step("ConvTranspose", "x", F32(np.ones((3, 3, 2, 2))), output_shape=[some, n])],
        [
            _step(
                "ConvTranspose",
                "x",
                F32(np.ones((3, 3, 2, 2))),
                output_padding=[some, 1],
                dilations=[some] * 2,
            )
        ],
        [_step("Conv", "x", F32(np.ones((3, 3, 1, 1))), pads=[some, 0, n, 0])],
        [_step("Conv", "x", F32(np.ones((3, 3, 1, 1))), dilations=[some, n])],
        [_step("Conv", "x", F32(np.ones((3, 3, 1, 1))), kernel_shape=[some, some])],
        [_step("Conv", "x", F32(np.ones((3, 0, 1, 1))), group=some)],
        [_step("MaxPool", "x", kernel_shape=[some, 2], pads=[n, 0, 0, 0])],
        [_step("MaxPool", "x", kernel_shape=[2, 2], dilations=[some, 1], strides=[some, 1])],
        [_step("AveragePool", "x", kernel_shape=[n, n], pads=[n, n, n, n])],
        [_step("AveragePool", "x", kernel_shape=[2, 2], ceil_mode=1, strides=[some, 1])],
        [_step("LpPool", "x", kernel_shape=[2, 2], p=some)],
        [_step("LRN", "x", size=some)],
        [_step("MaxUnpool", "x", I64(np.full((1, 3, 16, 16), some)), kernel_shape=[2, 2])],
        [
            _step(
                "Einsum", "x", equation=rng.choice(("...", "nchw->nchwz", "", "abcd->" + "a" * 99, "->", "é"))
            )
        ],
        [_step("CumSum", "x", I64(some))],
        [_step("Trilu", "x", I64(some))],
        [_step("ReduceMean", "x", I64([some]))],
        [_step("ReduceMean", "x", I64([2, 2, 2]))],
        [_step("Softmax", "x", axis=some)],
        [_step("Concat", "x", "x", axis=some)],
        [_step("Flatten", "x", axis=some)],
        [_step("EyeLike", "x", k=some)],
        [_step("Col2Im", "x", I64([n, n]), I64([1, some]))],
        [
            _step(
                "GridSample",
                "x",
                F32(np.full((1, 2, 2, 2), rng.choice((np.nan, np.inf, 1e30)))),
                mode="cubic",
            )
        ],
        [
            _step(
                "RoiAlign",
                "x",
                F32([[0, 0, 1e30, np.nan]]),
                I64([some]),
                output_height=1 << 20,
                output_width=9,
            )
        ],
        _added(_step("NonZero", "x")),
        [_step("Compress", "x", np.array([True]), axis=some)],
        [_step("Unique", "x", axis=some)],
        [_step("GroupNormalization", "x", F32([1] * 3), F32([1] * 3), num_groups=some)],
        [_step("LayerNormalization", "x", F32([1] * 16), axis=some)],
        [_step("InstanceNormalization", "x", F32([1]), F32([]))],
        [_step("BatchNormalization", "x", *[F32([1])] * 4)],
        [_step("PRelu", "x", F32(np.ones((0,))))],
        [_step("Clip", "x", F32([1, 2]), F32([]))],
        [_step("QuantizeLinear", "x", F32(0), U8(0)), _step("DequantizeLinear", ">", F32(np.nan), U8(0))],
        _added(_step("DequantizeLinear", U8([1, 2]), F32([1, 2, 3]), U8([0]), axis=some)),
        [_step("QuantizeLinear", "x", F32([1, 1, 1]), U8([0, 0, 0]), axis=some, block_size=some)],
        [_step("DFT", "x", axis=some)],
        _added(_step("HannWindow", I64(n))),
        _added(_step("MelWeightMatrix", I64(n), I64(n), I64(some), F32(0), F32(1))),
        _added(_step("Multinomial", "x", sample_size=(1 << 31) - 1)),
        [_step("Bernoulli", "x")],
        [_step("Attention", "x", "x", "x", q_num_heads=some)],
        [_step("SequenceAt", "x", I64(some))],
        [_step("SequenceConstruct", "x", "x"), _step("ConcatFromSequence", ">", axis=some)],
        [_step("SplitToSequence", "x", I64([some])), _step("SequenceAt", ">", I64(some))],
        [_step("Optional", "x"), _step("OptionalGetElement", ">")],
        [_step("StringNormalizer", np.array(["a"]))],
        [_step("LSTM", "x", F32(np.ones((1, 4, 1))), F32(np.ones((1, 4, 1))), hidden_size=some)],
        [_step("Upsample", "x", F32([1, 1, 1e9, 1e9]))],
        [_step("CenterCropPad", "x", I64([n, n]), axes=[2, 3])],
        _added(_step("AffineGrid", F32([[[1, 0, 0], [0, 1, 0]]]), I64([1, 3, n, n]))),
        [_step("ReverseSequence", "x", I64([some]))],
        [_step("Scan", "x", num_scan_inputs=some, body=onnx.GraphProto())],
        [_step("Cast", "x", to=rng.choice((0, 8, 10, 16, 17, 23, 99)))],
        _added(_step("ArgMax", "x", axis=some)),
        [_step("Loop", I64(1 << 40), "_", "x", body=onnx.GraphProto())],
    ]
    return rng.choice(choices)
