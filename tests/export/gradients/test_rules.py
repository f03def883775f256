"""Every gradient rule against central differences of ONNX Runtime's own forward pass, and against torch."""

import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from sise_rt.export.gradients.resampling import UNCERTAIN
from sise_rt.export.gradients.reverse import reverse
from sise_rt.export.gradients.rules import PIECEWISE_CONSTANT, RULES, SEVERAL_OUTPUTS
from sise_rt.export.gradients.rules.table import rule
from sise_rt.export.ir.builder import Builder
from sise_rt.export.ir.types import TensorType

from sise_rt.errors import ModelError, UnsupportedOperator

try:
    import torch
    import torch.nn.functional as F
except ImportError:  # central differences remain
    torch = None

BATCH = 2  # an input whose first extent this is has a free batch; no other first extent is 2
rng = np.random.default_rng(0)


@dataclass
class Constant:
    """An input that the network holds as a weight."""

    value: np.ndarray


@dataclass
class Case:
    """One node: operator, inputs in order (None for an absent one), attributes, and the same in torch."""

    name: str
    op: str
    inputs: tuple
    attributes: dict[str, Any]
    torch: Any = None
    outputs: int = 1
    single: bool = False  # only float32 kernels exist; the operator is linear, so any step is exact
    curved: bool = False  # only float32 kernels exist, and it is not
    opset: int = 18


CASES: list[Case] = []


def case(name, op, *inputs, torch=None, outputs=1, single=False, curved=False, opset=18, **attributes):
    title = f"{op} {name}".strip()
    CASES.append(Case(title, op, inputs, attributes, torch, outputs, single, curved, opset))


def R(*shape):
    return rng.standard_normal(shape)


def P(*shape):
    return rng.uniform(0.5, 2.0, shape)


def A(*shape):
    """Away from zero, for steps that must not cross a kink."""
    return rng.choice([-1, 1], shape) * rng.uniform(0.5, 2.0, shape)


def W(*shape):
    return Constant(rng.standard_normal(shape))


def ints(*values):
    return Constant(np.array(values, np.int64))


# ---------------------------------------------------------------------------------------------- windows


def conv(name, x, w, pads=(0, 0, 0, 0), auto_pad=None, **attributes):
    """Torch pads by itself with (left, right, top, bottom), so that asymmetric pads are exact."""

    def reference(x, w):
        top, left, bottom, right = pads
        stride, dilation = attributes.get("strides", (1, 1)), attributes.get("dilations", (1, 1))
        padded = F.pad(x, (left, right, top, bottom))
        return F.conv2d(padded, w, stride=stride, dilation=dilation, groups=attributes.get("group", 1))

    attributes |= {"auto_pad": auto_pad} if auto_pad else {"pads": pads}
    case(name, "Conv", R(*x), W(*w), torch=reference, single=True, **attributes)


conv("3x3", (2, 3, 7, 8), (4, 3, 3, 3), (1, 1, 1, 1))
conv("stride 2 odd", (2, 3, 15, 16), (4, 3, 3, 3), (1, 1, 1, 1), strides=[2, 2])
conv("7x7 stride 2", (2, 3, 20, 21), (4, 3, 7, 7), (3, 3, 3, 3), strides=[2, 2])
conv("1x1 stride 2", (2, 3, 8, 9), (4, 3, 1, 1), strides=[2, 2])
conv("1x1 stride 3", (2, 3, 10, 9), (4, 3, 1, 1), strides=[3, 3])
conv("2x2 stride 4", (2, 3, 11, 10), (4, 3, 2, 2), strides=[4, 4])
conv("4x4 stride 4", (2, 3, 16, 18), (4, 3, 4, 4), strides=[4, 4])
conv("unequal strides", (2, 3, 9, 12), (4, 3, 3, 2), (1, 0, 1, 0), strides=[1, 3])
conv("dilation", (2, 3, 12, 13), (4, 3, 3, 3), (2, 2, 2, 2), dilations=[2, 2])
conv("dilation and stride", (2, 3, 12, 13), (4, 3, 3, 3), (2, 2, 2, 2), dilations=[2, 2], strides=[2, 2])
conv("dilation 3 and stride 2", (2, 3, 14, 15), (4, 3, 3, 3), (1, 1, 1, 1), dilations=[3, 3], strides=[2, 2])
conv("1x1", (2, 3, 7, 8), (4, 3, 1, 1))
conv("even kernel", (2, 3, 7, 8), (4, 3, 2, 4), (1, 1, 0, 2))
conv("groups stride 1", (2, 6, 9, 8), (9, 2, 3, 2), (1, 1, 1, 0), group=3)
conv("groups 1x1", (2, 6, 9, 8), (9, 2, 1, 1), group=3)
conv("depthwise stride 1", (2, 5, 9, 8), (5, 1, 3, 3), (2, 2, 2, 2), group=5, dilations=[2, 2])
conv("groups", (2, 6, 9, 8), (9, 2, 3, 3), (1, 1, 1, 1), group=3, strides=[2, 2])
conv("depthwise", (2, 5, 9, 8), (5, 1, 3, 3), (1, 1, 1, 1), group=5, strides=[2, 2])
conv("depth multiplier", (2, 5, 9, 8), (10, 1, 3, 3), (1, 1, 1, 1), group=5)
conv("asymmetric pads", (2, 3, 9, 10), (4, 3, 3, 3), (0, 1, 2, 0))
conv("asymmetric pads stride 2", (2, 3, 9, 10), (4, 3, 3, 3), (0, 0, 1, 1), strides=[2, 2])
conv("pads only in front", (2, 3, 9, 10), (4, 3, 5, 5), (3, 2, 0, 0), strides=[3, 3])
conv("pads wider than the kernel", (2, 3, 5, 6), (4, 3, 3, 3), (4, 4, 4, 4), strides=[2, 2])
conv("pads wider than the kernel stride 1", (2, 3, 5, 6), (4, 3, 3, 3), (2, 2, 3, 2))
conv("unread rows at the end", (2, 3, 12, 13), (4, 3, 3, 3), (1, 1, 0, 0), strides=[4, 4])
conv("SAME_UPPER", (2, 3, 9, 10), (4, 3, 3, 3), (1, 0, 1, 1), "SAME_UPPER", strides=[2, 2])
conv("SAME_LOWER", (2, 3, 9, 10), (4, 3, 3, 3), (1, 1, 1, 0), "SAME_LOWER", strides=[2, 2])
conv("SAME_UPPER even kernel", (2, 3, 9, 9), (4, 3, 4, 4), (1, 1, 2, 2), "SAME_UPPER")
conv("SAME_LOWER even kernel", (2, 3, 9, 9), (4, 3, 4, 4), (2, 2, 1, 1), "SAME_LOWER")
conv("VALID", (2, 3, 9, 10), (4, 3, 3, 3), (0, 0, 0, 0), "VALID", strides=[2, 2])
case("bias", "Conv", R(2, 3, 7, 7), W(4, 3, 3, 3), W(4), torch=lambda x, w, b: F.conv2d(x, w, b), single=True)
case("kernel_shape", "Conv", R(2, 3, 7, 7), W(4, 3, 3, 3), kernel_shape=[3, 3], single=True)
case(
    "1-D", "Conv", R(2, 3, 11), W(4, 3, 3), pads=[1, 1], strides=[2], single=True,
    torch=lambda x, w: F.conv1d(x, w, padding=1, stride=2),
)  # fmt: skip
case(
    "3-D", "Conv", R(2, 3, 6, 7, 5), W(4, 3, 3, 3, 2), pads=[1, 0, 1, 1, 1, 0],
    strides=[2, 1, 2], single=True,
    torch=lambda x, w: F.conv3d(F.pad(x, (1, 0, 0, 1, 1, 1)), w, stride=(2, 1, 2)),
)  # fmt: skip

case("overlapping", "MaxPool", R(2, 3, 9, 10), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1],
     torch=lambda x: F.max_pool2d(x, 3, 2, 1))  # fmt: skip
case("dense", "MaxPool", R(2, 3, 9, 10), kernel_shape=[3, 3], torch=lambda x: F.max_pool2d(x, 3, 1))
case("ceil", "MaxPool", R(2, 3, 8, 10), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1,
     torch=lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True))  # fmt: skip
case("ceil and pads", "MaxPool", R(2, 3, 10, 8), kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1,
     pads=[1, 0, 1, 0], torch=lambda x: F.max_pool2d(x, (3, 2), 2, (1, 0), ceil_mode=True))  # fmt: skip
case("dilation", "MaxPool", R(2, 3, 11, 10), kernel_shape=[3, 3], strides=[2, 2], dilations=[2, 2],
     torch=lambda x: F.max_pool2d(x, 3, 2, dilation=2))  # fmt: skip
case("asymmetric pads", "MaxPool", R(2, 3, 9, 9), kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1])
case("SAME_UPPER", "MaxPool", R(2, 3, 10, 9), kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
case("SAME_LOWER", "MaxPool", R(2, 3, 10, 9), kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER")
case("VALID", "MaxPool", R(2, 3, 10, 9), kernel_shape=[2, 2], strides=[2, 2], auto_pad="VALID")
case("1-D", "MaxPool", R(2, 3, 10), kernel_shape=[3], strides=[2], torch=lambda x: F.max_pool1d(x, 3, 2))
case("3-D", "MaxPool", R(2, 3, 6, 5, 6), kernel_shape=[2, 3, 2], strides=[2, 1, 2],
     torch=lambda x: F.max_pool3d(x, (2, 3, 2), (2, 1, 2)))  # fmt: skip

for include in (0, 1):
    tag = f"include={include}"
    case(f"{tag} plain", "AveragePool", R(2, 3, 8, 8), kernel_shape=[2, 2], strides=[2, 2], single=True,
         count_include_pad=include, torch=lambda x: F.avg_pool2d(x, 2))  # fmt: skip
    case(f"{tag} overlapping pads", "AveragePool", R(2, 3, 9, 10), kernel_shape=[3, 3], strides=[2, 2],
         pads=[1, 1, 1, 1], count_include_pad=include, single=True,
         torch=lambda x, flag=bool(include): F.avg_pool2d(x, 3, 2, 1, count_include_pad=flag))  # fmt: skip
    case(f"{tag} asymmetric pads", "AveragePool", R(2, 3, 9, 10), kernel_shape=[3, 2], strides=[2, 1],
         pads=[0, 1, 1, 0], count_include_pad=include, single=True)  # fmt: skip
    for height in (7, 8, 9, 10):
        for size, stride, edge in ((3, 2, 0), (3, 2, 1), (2, 2, 0), (2, 3, 0), (4, 3, 1), (3, 3, 1)):
            case(f"{tag} ceil {height} k{size} s{stride} p{edge}", "AveragePool", R(2, 3, height, 11),
                 kernel_shape=[size, size], strides=[stride, stride], pads=[edge] * 4, ceil_mode=1,
                 count_include_pad=include, single=True)  # fmt: skip
    for side in ("SAME_UPPER", "SAME_LOWER"):
        case(f"{tag} {side}", "AveragePool", R(2, 3, 10, 9), kernel_shape=[3, 3], strides=[2, 2],
             auto_pad=side, count_include_pad=include, single=True)  # fmt: skip
case("VALID", "AveragePool", R(2, 3, 10, 9), kernel_shape=[3, 3], strides=[2, 2], auto_pad="VALID",
     single=True, torch=lambda x: F.avg_pool2d(x, 3, 2))  # fmt: skip
case("1-D", "AveragePool", R(2, 3, 10), kernel_shape=[3], strides=[2], single=True,
     torch=lambda x: F.avg_pool1d(x, 3, 2))  # fmt: skip
case("3-D", "AveragePool", R(2, 3, 6, 7, 5), kernel_shape=[2, 2, 3], strides=[2, 2, 1], single=True,
     torch=lambda x: F.avg_pool3d(x, (2, 2, 3), (2, 2, 1)))  # fmt: skip
case(
    "dilation",
    "AveragePool",
    R(2, 3, 11, 10),
    kernel_shape=[3, 3],
    dilations=[2, 2],
    pads=[1] * 4,
    single=True,
    opset=19,
)

case("", "GlobalAveragePool", R(2, 3, 5, 4), single=True, torch=lambda x: x.mean((2, 3), keepdim=True))
case("1-D", "GlobalAveragePool", R(2, 3, 5), single=True, torch=lambda x: x.mean(2, keepdim=True))
# Its only kernel is float32: values far apart, so that a large step stays on one side of the kinks.
case("", "GlobalMaxPool", 8 * rng.permutation(8).reshape(2, 1, 2, 2), single=True,
     torch=lambda x: F.adaptive_max_pool2d(x, 1))  # fmt: skip

case("computed weights", "Conv", R(3, 4, 7, 8), R(6, 2, 3, 2), pads=[1, 0, 1, 1], strides=[2, 1], group=2,
     dilations=[1, 2], single=True, torch=lambda x, w: F.conv2d(
         F.pad(x, (0, 1, 1, 1)), w, stride=(2, 1), dilation=(1, 2), groups=2))  # fmt: skip
case("computed weights and bias of a batch", "Conv", R(2, 3, 6), W(4, 3, 3), R(4), single=True,
     torch=lambda x, w, b: F.conv1d(x, w, b))  # fmt: skip
for label, shape, weights, options in (
    ("", (2, 3, 5, 6), (3, 4, 3, 3), {}),
    ("stride 2", (2, 3, 5, 6), (3, 4, 4, 4), {"stride": 2, "padding": 1}),
    ("output padding", (2, 3, 5, 6), (3, 4, 3, 3), {"stride": 2, "padding": 1, "output_padding": (1, 0)}),
    ("groups", (2, 6, 5, 6), (6, 2, 2, 3), {"stride": (2, 3), "groups": 3}),
    ("dilation", (2, 3, 5, 6), (3, 4, 3, 3), {"dilation": 2, "padding": 1}),
    ("1-D", (2, 3, 5), (3, 4, 3), {"stride": 2}),
    ("3-D", (2, 3, 3, 4, 3), (3, 2, 2, 2, 2), {"stride": (2, 1, 2)}),
):
    rank, named = len(shape) - 2, {}
    for key, name in (("stride", "strides"), ("dilation", "dilations"), ("output_padding", "output_padding"),
                      ("padding", "pads")):  # fmt: skip
        if key in options:
            value = options[key] if isinstance(options[key], tuple) else (options[key],) * rank
            named[name] = list(value) * (2 if key == "padding" else 1)
    transposed = {1: "conv_transpose1d", 2: "conv_transpose2d", 3: "conv_transpose3d"}[rank]
    case(label, "ConvTranspose", R(*shape), W(*weights), single=True, group=options.get("groups", 1),
         torch=lambda x, w, f=transposed, o=options: getattr(F, f)(x, w, **o), **named)  # fmt: skip
case("asymmetric pads", "ConvTranspose", R(2, 3, 5, 6), W(3, 4, 3, 3), pads=[0, 1, 2, 0], strides=[2, 2],
     single=True, torch=lambda x, w: F.conv_transpose2d(x, w, stride=2)[:, :, :-2, 1:])  # fmt: skip
case("VALID and bias", "ConvTranspose", R(2, 3, 5), W(3, 4, 3), W(4), auto_pad="VALID", single=True,
     torch=lambda x, w, b: F.conv_transpose1d(x, w, b))  # fmt: skip

for label, options, torchs in (
    ("SAME_UPPER", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, lambda y: y[:, :, :-1, :-1]),
    ("SAME_LOWER", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, lambda y: y[:, :, 1:, 1:]),
    (
        "SAME_UPPER output shape",
        {"auto_pad": "SAME_UPPER", "strides": [2, 2], "output_shape": [8, 11]},
        lambda y: y[:, :, 1:-2, 1:-1],
    ),
    (
        "SAME_LOWER output shape",
        {"auto_pad": "SAME_LOWER", "strides": [2, 2], "output_shape": [8, 11]},
        lambda y: y[:, :, 2:-1, 1:-1],
    ),
    ("output shape", {"strides": [2, 2], "output_shape": [8, 12]}, lambda y: y[:, :, 2:-1, 1:]),
    (
        "larger output shape",
        {"strides": [2, 2], "output_shape": [12, 14], "output_padding": [1, 1]},
        lambda y: F.pad(y, (0, 1, 0, 1)),
    ),
):
    case(label, "ConvTranspose", R(2, 3, 5, 6), W(3, 4, 3, 3), single=True, **options,
         torch=lambda x, w, f=torchs: f(F.conv_transpose2d(x, w, stride=2)))  # fmt: skip

for p in (1, 2, 3):
    case(f"p={p}", "LpPool", A(2, 3, 9, 10), kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1], p=p,
         curved=True, torch=lambda x, p=p: (9 * F.avg_pool2d(F.pad(x, (0, 1, 1, 1)).abs() ** p, (3, 2), 2)
                                            * 6 / 9) ** (1 / p))  # fmt: skip
    case(f"p={p}", "GlobalLpPool", A(2, 3, 4, 5), p=p, curved=True,
         torch=lambda x, p=p: (x.abs() ** p).sum((2, 3), keepdim=True) ** (1 / p))  # fmt: skip
case("SAME_UPPER", "LpPool", P(2, 3, 9, 10), kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER",
     curved=True)  # fmt: skip

case("", "MaxUnpool", R(2, 3, 2, 3), Constant(4 * np.arange(36).reshape(2, 3, 2, 3) + 1), kernel_shape=[2, 2],
     strides=[2, 2], single=True, torch=lambda x, i: torch.zeros(144, dtype=x.dtype).scatter(
         0, i.flatten(), x.flatten()).reshape(2, 3, 4, 6))  # fmt: skip

# ---------------------------------------------------------------------------------------------- sampling

GRID = rng.uniform(-0.9, 0.9, (2, 4, 5, 2))
OUTSIDE = 1.7 * R(2, 4, 5, 2)


def sampled(mode="bilinear", padding="zeros", aligned=0):
    return lambda x, grid: F.grid_sample(x, grid, mode, padding, bool(aligned))


def affine(aligned):
    return lambda theta, size: F.affine_grid(theta, [int(n) for n in size], bool(aligned))


for aligned in (0, 1):
    options = {"align_corners": aligned, "opset": 20}
    for padding in ("zeros", "border", "reflection"):
        for mode, name in (("linear", "bilinear"), ("nearest", "nearest")):
            for label, grid in (("inside", GRID), ("outside", OUTSIDE)):
                case(f"{mode} {padding} aligned={aligned} {label}", "GridSample", R(2, 3, 6, 7), grid,
                     mode=mode, padding_mode=padding, torch=sampled(name, padding, aligned),
                     **options)  # fmt: skip
    case(f"bilinear aligned={aligned}", "GridSample", R(2, 3, 6, 7), Constant(GRID), mode="bilinear",
         align_corners=aligned, torch=sampled(aligned=aligned), opset=16, single=True)  # fmt: skip
    case(f"3-D aligned={aligned}", "GridSample", R(2, 2, 3, 4, 5), 1.3 * R(2, 2, 3, 2, 3),
         torch=sampled(aligned=aligned), **options)  # fmt: skip
    case(
        f"2-D aligned={aligned}", "AffineGrid", R(2, 2, 3), ints(2, 3, 4, 5), torch=affine(aligned), **options
    )
    case(f"3-D aligned={aligned}", "AffineGrid", R(2, 3, 4), ints(2, 1, 3, 4, 2), torch=affine(aligned),
         **options)  # fmt: skip


def deformed(stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    """Every tap by torch's grid_sample, in pixels."""

    def reference(x, w, offset, b=None, mask=None):
        n, channels, height, width = x.shape
        kernel, outs = w.shape[2:], offset.shape[2:]
        parts = offset.shape[1] // (2 * kernel.numel())
        offset = offset.reshape(n, parts, kernel.numel(), 2, *outs)
        places = [
            torch.arange(m, dtype=x.dtype) * s - p for m, s, p in zip(outs, stride, padding, strict=True)
        ]
        columns = []  # of each group of offsets (n, channels, taps, height, width)
        for part, pixels in enumerate(x.split(channels // parts, 1)):
            samples = []
            for tap, (i, j) in enumerate(np.ndindex(*kernel)):
                down = places[0][:, None] + i * dilation[0] + offset[:, part, tap, 0]
                right = places[1] + j * dilation[1] + offset[:, part, tap, 1]
                grid = torch.stack([2 * right / (width - 1) - 1, 2 * down / (height - 1) - 1], -1)
                weight = 1 if mask is None else mask.reshape(n, parts, -1, 1, *outs)[:, part, tap]
                samples.append(weight * F.grid_sample(pixels, grid, align_corners=True))
            columns.append(torch.stack(samples, 2))
        columns = torch.cat(columns, 1).reshape(n, groups, channels // groups, -1, *outs)
        weights = w.reshape(groups, len(w) // groups, channels // groups, -1)
        y = torch.einsum("ngckhw,gock->ngohw", columns, weights).reshape(n, len(w), *outs)
        return y if b is None else y + b[:, None, None]

    return reference


case("", "DeformConv", R(2, 3, 6, 7), W(4, 3, 3, 2), R(2, 12, 4, 6), opset=19, torch=deformed())
case("strides, pads and dilations", "DeformConv", R(2, 3, 9, 8), W(4, 3, 3, 3), 2 * R(2, 18, 4, 4), opset=19,
     strides=[2, 3], pads=[1, 2, 1, 2], dilations=[2, 1],
     torch=deformed(stride=(2, 3), padding=(1, 2), dilation=(2, 1)))  # fmt: skip
case("groups, mask and bias", "DeformConv", R(2, 4, 5, 6), R(6, 2, 2, 2), R(2, 16, 4, 5), R(6), R(2, 8, 4, 5),
     opset=19, group=2, offset_group=2, torch=deformed(groups=2))  # fmt: skip
case("of one image", "DeformConv", R(1, 4, 5, 6), R(6, 4, 3, 3), R(1, 72, 5, 6), W(6), R(1, 36, 5, 6),
     opset=22, offset_group=4, pads=[1] * 4, torch=deformed(padding=(1, 1)))  # fmt: skip
case("reflection of one pixel", "GridSample", R(2, 3, 1, 4), OUTSIDE, padding_mode="reflection", opset=20,
     align_corners=1, torch=lambda x, g: F.grid_sample(x, g, "bilinear", "reflection", True))  # fmt: skip

# ---------------------------------------------------------------------------------------------- activations

case("no bounds", "Clip", R(2, 9), torch=lambda x: x * 1)
case("low", "Clip", R(2, 9), Constant(np.array(-0.3)), torch=lambda x, a: x.clamp(min=a))
case("high", "Clip", R(2, 9), None, Constant(np.array(0.4)), torch=lambda x, b: x.clamp(max=b))
case("both", "Clip", R(2, 9), Constant(np.array(-0.3)), Constant(np.array(0.4)),
     torch=lambda x, a, b: x.clamp(a, b))  # fmt: skip
case("", "HardSigmoid", 3 * R(2, 20), alpha=1 / 6, beta=0.5, torch=lambda x: F.hardsigmoid(x))
case("defaults", "HardSigmoid", 3 * R(2, 20), torch=lambda x: (0.2 * x + 0.5).clamp(0, 1))
case("", "HardSwish", 3 * R(2, 20), torch=lambda x: F.hardswish(x), single=False)
case("", "LeakyRelu", R(2, 9), torch=lambda x: F.leaky_relu(x))
case("negative slope", "LeakyRelu", R(2, 9), alpha=-0.3, torch=lambda x: F.leaky_relu(x, -0.3))
case("", "Relu", R(2, 9), torch=lambda x: F.relu(x))
case("", "Sigmoid", 4 * R(2, 9), torch=lambda x: x.sigmoid())
case("last axis", "Softmax", R(2, 3, 5), torch=lambda x: x.softmax(-1))
case("axis 1", "Softmax", R(2, 3, 5), axis=1, torch=lambda x: x.softmax(1))
case("negative axis", "Softmax", R(2, 3, 5), axis=-2, torch=lambda x: x.softmax(-2))
case("", "Tanh", R(2, 9), torch=lambda x: x.tanh())

case("", "Celu", A(2, 9), alpha=0.7, torch=lambda x: F.celu(x, 0.7), curved=True)
case("", "Elu", R(2, 9), torch=lambda x: F.elu(x))
case("alpha", "Elu", R(2, 9), alpha=0.4, torch=lambda x: F.elu(x, 0.4))
case("", "Gelu", 2 * R(2, 20), opset=20, curved=True, torch=lambda x: F.gelu(x))
case(
    "tanh",
    "Gelu",
    2 * R(2, 20),
    opset=20,
    approximate="tanh",
    curved=True,
    torch=lambda x: F.gelu(x, approximate="tanh"),
)
case("", "LogSoftmax", R(2, 3, 5), torch=lambda x: x.log_softmax(-1))
case("axis 1", "LogSoftmax", R(2, 3, 5), axis=1, torch=lambda x: x.log_softmax(1))
case("", "Mish", 3 * R(2, 20), torch=lambda x: F.mish(x))
case("per channel", "PRelu", R(2, 3, 4, 5), W(3, 1, 1), torch=lambda x, w: F.prelu(x, w.flatten()))
case("computed slope", "PRelu", R(2, 3, 4), R(1, 4), torch=lambda x, w: torch.where(x > 0, x, w * x))
case("", "Selu", R(2, 9), torch=lambda x: F.selu(x))
case("attributes", "Selu", R(2, 9), alpha=0.5, gamma=2.0, torch=lambda x: 2 * F.elu(x, 0.5))
STEPS = rng.choice([-1.3, -0.1, 0.05, 1.2], (2, 20))
case("", "Shrink", STEPS, curved=True, torch=lambda x: F.hardshrink(x))
case("soft", "Shrink", STEPS, curved=True, lambd=0.3, bias=0.3, torch=lambda x: F.softshrink(x, 0.3))
case("", "Softplus", 4 * R(2, 9), torch=lambda x: F.softplus(x))
case("", "Softsign", R(2, 9), torch=lambda x: F.softsign(x))
case("", "Swish", 3 * R(2, 9), opset=24, torch=lambda x: F.silu(x))
case("alpha", "Swish", 3 * R(2, 9), opset=24, alpha=1.7, torch=lambda x: x * (1.7 * x).sigmoid())
case("", "ThresholdedRelu", R(2, 20), alpha=0.4, torch=lambda x: F.threshold(x, 0.4, 0.0))

# ---------------------------------------------------------------------------------------------- arithmetic

SHAPES = {
    "same": ((2, 3, 4), (2, 3, 4)),
    "channel": ((2, 3, 4, 5), (1, 3, 1, 1)),
    "channel first": ((1, 3, 1, 1), (2, 3, 4, 5)),
    "lower rank": ((2, 3, 4), (4,)),
    "lower rank first": ((4,), (2, 3, 4)),
    "scalar": ((2, 3, 4), ()),
    "both ways": ((2, 1, 4), (3, 1)),
    "gate": ((2, 3, 4, 5), (2, 3, 1, 1)),
    "batch": ((1, 3), (2, 3)),
}
BINARY = {
    "Add": lambda a, b: a + b,
    "Div": lambda a, b: a / b,
    "Mul": lambda a, b: a * b,
    "Sub": lambda a, b: a - b,
}
for op_type, function in BINARY.items():
    for label, (left, right) in SHAPES.items():
        case(label, op_type, R(*left), P(*right), torch=function)
case("three", "Sum", R(2, 3, 4), R(3, 1), R(4), torch=lambda a, b, c: a + b + c)
case("one", "Sum", R(2, 3), torch=lambda a: a * 1)
case("", "Exp", R(2, 9), torch=lambda x: x.exp())
case("", "Neg", R(2, 9), torch=lambda x: -x)
case("square", "Pow", R(2, 9), Constant(np.array(2.0)), torch=lambda x, e: x**e)
case("integer exponent", "Pow", R(2, 9), Constant(np.array(3)), torch=lambda x, e: x**3)
case("broadcast exponents", "Pow", P(2, 3), Constant(np.array([0.0, 0.5, -1.5])), torch=lambda x, e: x**e)
case("exponent of higher rank", "Pow", P(3), Constant(np.array([[1.0], [2.5]])), torch=lambda x, e: x**e)
case("", "Sqrt", P(2, 9), torch=lambda x: x.sqrt())

UNARY = "Abs Acos Acosh Asin Asinh Atan Atanh Cos Cosh Erf Log Reciprocal Sin Sinh Tan"
WITHOUT_DOUBLE = "Acos Acosh Asin Asinh Atan Atanh Cosh Erf Sinh Tan"
for op_type in UNARY.split():

    def unary(x, op_type=op_type):
        return getattr(torch, op_type.lower())(x)

    points = 1 + P(2, 9) if op_type in ("Acosh", "Log", "Reciprocal") else 0.4 * A(2, 9).clip(-1, 1)
    case("", op_type, points, torch=unary, curved=op_type in WITHOUT_DOUBLE)
for op_type, function in (("Max", "maximum"), ("Min", "minimum")):
    for label, (left, right) in SHAPES.items():
        case(label, op_type, R(*left), R(*right), torch=lambda a, b, f=function: getattr(torch, f)(a, b))
    case("three", op_type, R(2, 3, 4), R(3, 1), R(4),
         torch=lambda a, b, c, f=function: getattr(torch, f)(getattr(torch, f)(a, b), c))  # fmt: skip
    case("one", op_type, R(2, 3), torch=lambda a: a * 1)
case("three", "Mean", R(2, 3, 4), R(3, 1), R(4), torch=lambda a, b, c: (a + b + c) / 3, single=True)
case("computed exponent", "Pow", P(2, 3), R(2, 3), torch=lambda x, e: x**e)
case("computed exponent broadcast", "Pow", P(2, 3, 4), R(3, 1), torch=lambda x, e: x**e)
case("of a constant", "Pow", Constant(np.array(2.0)), R(2, 3), torch=lambda x, e: x**e)

# ---------------------------------------------------------------------------------------------- products


def norm(x, scale, bias, mean, var):
    return F.batch_norm(x, mean, var, scale, bias)


case("", "BatchNormalization", R(2, 3, 4, 5), W(3), W(3), W(3), Constant(P(3)), torch=norm)
case("epsilon", "BatchNormalization", R(2, 3, 4), W(3), W(3), W(3), Constant(P(3)), epsilon=0.1,
     torch=lambda x, s, b, m, v: F.batch_norm(x, m, v, s, b, eps=0.1))  # fmt: skip
case("rank two", "BatchNormalization", R(2, 3), W(3), W(3), W(3), Constant(P(3)), torch=norm)

for ta in (0, 1):
    for tb in (0, 1):
        left, right = ((5, 3) if ta else (3, 5)), ((4, 5) if tb else (5, 4))

        def product(a, b, c=None, ta=ta, tb=tb):
            y = 0.7 * (a.T if ta else a) @ (b.T if tb else b)
            return y if c is None else y - 1.3 * c

        case(f"A{ta} B{tb}", "Gemm", R(*left), R(*right), transA=ta, transB=tb, alpha=0.7, torch=product)
        for third in ((3, 4), (4,), (1, 4), (3, 1), ()):
            case(f"A{ta} B{tb} C{third}", "Gemm", R(*left), R(*right), R(*third), transA=ta, transB=tb,
                 alpha=0.7, beta=-1.3, torch=product)  # fmt: skip
case("of a batch", "Gemm", R(2, 5), W(4, 5), W(4), transB=1, torch=lambda a, b, c: F.linear(a, b, c))
for label, (left, right) in {
    "matrices": ((3, 5), (5, 4)),
    "of a batch": ((2, 5), (5, 4)),
    "batched": ((2, 7, 3, 5), (2, 7, 5, 4)),
    "broadcast right": ((2, 7, 3, 5), (5, 4)),
    "broadcast left": ((3, 5), (2, 7, 5, 4)),
    "broadcast both": ((2, 1, 3, 5), (7, 5, 4)),
}.items():
    case(label, "MatMul", R(*left), R(*right), torch=lambda a, b: a @ b)

for label, (left, right) in {
    "row": ((5,), (5, 4)),
    "column": ((3, 5), (5,)),
    "two vectors": ((5,), (5,)),
    "row times a batch": ((5,), (2, 7, 5, 4)),
    "batch times column": ((2, 7, 3, 5), (5,)),
}.items():
    case(label, "MatMul", R(*left), R(*right), torch=lambda a, b: a @ b)

for equation, shapes in {
    "ij,jk->ik": ((3, 4), (4, 5)),
    "nchw,kc->nkhw": ((2, 3, 4, 5), (6, 3)),
    "nhqd,nhkd->nhqk": ((2, 3, 4, 5), (2, 3, 6, 5)),
    "ij,jk": ((3, 4), (4, 5)),
    "bi,bj": ((2, 4), (2, 5)),
    "ab,bc,cd->ad": ((3, 4), (4, 5), (5, 6)),
    "i,j->ij": ((3,), (4,)),
    "ij->i": ((3, 4),),
    "nij,k->nk": ((2, 3, 4), (5,)),
    "nij,j->": ((2, 3, 4), (4,)),
    "...ij,...jk->...ik": ((2, 7, 3, 4), (2, 7, 4, 5)),
    "...ij,jk -> ...ik": ((2, 7, 3, 4), (4, 5)),
    "...ij,...jk": ((2, 7, 3, 4), (2, 7, 4, 5)),
    "nCh,nhC->n": ((2, 3, 4), (2, 4, 3)),
}.items():
    case(equation, "Einsum", *(R(*shape) for shape in shapes), equation=equation,
         torch=lambda *x, e=equation: torch.einsum(e, *x))  # fmt: skip

# --------------------------------------------------------------------------------------------- normalisations

for groups in (1, 2, 3, 6):
    case(f"{groups} groups", "GroupNormalization", R(2, 6, 4, 3), W(6), W(6), num_groups=groups,
         opset=21, curved=True, torch=lambda x, s, b, n=groups: F.group_norm(x, n, s, b))  # fmt: skip
    case(f"{groups} groups, a scale each", "GroupNormalization", R(2, 6, 5), W(groups), W(groups),
         num_groups=groups, epsilon=0.1, torch=lambda x, s, b, n=groups: F.group_norm(
             x, n, s.repeat_interleave(6 // n), b.repeat_interleave(6 // n), 0.1))  # fmt: skip
case("", "InstanceNormalization", R(2, 3, 4, 5), W(3), W(3), curved=True,
     torch=lambda x, s, b: F.instance_norm(x, weight=s, bias=b))  # fmt: skip
case("1-D", "InstanceNormalization", R(2, 3, 6), W(3), W(3), epsilon=0.1, curved=True,
     torch=lambda x, s, b: F.instance_norm(x, weight=s, bias=b, eps=0.1))  # fmt: skip
case("", "LayerNormalization", R(2, 4, 6), W(6), W(6), torch=lambda x, s, b: F.layer_norm(x, (6,), s, b))
case("no bias", "LayerNormalization", R(2, 4, 6), W(6), epsilon=0.1,
     torch=lambda x, s: F.layer_norm(x, (6,), s, eps=0.1))  # fmt: skip
case("two axes", "LayerNormalization", R(2, 3, 4, 5), W(4, 5), W(4, 5), axis=2, stash_type=1,
     torch=lambda x, s, b: F.layer_norm(x, (4, 5), s, b))  # fmt: skip
case("negative axis", "LayerNormalization", R(2, 3, 4, 5), W(3, 4, 5), axis=-3,
     torch=lambda x, s: F.layer_norm(x, (3, 4, 5), s))  # fmt: skip
for p in (1, 2):
    for axis in (1, -1):
        case(f"p={p} axis={axis}", "LpNormalization", R(2, 3, 5), p=p, axis=axis,
             torch=lambda x, p=p, axis=axis: F.normalize(x, p, axis))  # fmt: skip
for size in (1, 3, 5, 9):
    case(f"size {size}", "LRN", 3 * R(2, 6, 3, 4), size=size, alpha=0.3, beta=0.6, bias=1.5, curved=True,
         torch=lambda x, n=size: F.local_response_norm(x, n, 0.3, 0.6, 1.5))  # fmt: skip
case("defaults", "LRN", 9 * R(2, 6, 3, 2), size=5, curved=True, torch=lambda x: F.local_response_norm(x, 5))


def standard(x, axes):
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred**2).mean(axes, keepdim=True).sqrt()


case("", "MeanVarianceNormalization", R(3, 4, 5, 4), curved=True, torch=lambda x: standard(x, (0, 2, 3)))
case("axes", "MeanVarianceNormalization", R(2, 4, 5, 4), axes=[-1, 2], curved=True,
     torch=lambda x: standard(x, (2, 3)))  # fmt: skip
case("", "RMSNormalization", R(2, 4, 6), W(6), opset=23, torch=lambda x, s: F.rms_norm(x, (6,), s, 1e-5))
case("two axes", "RMSNormalization", R(2, 3, 4, 5), W(4, 5), axis=2, epsilon=0.1, opset=23,
     torch=lambda x, s: F.rms_norm(x, (4, 5), s, 0.1))  # fmt: skip

# ---------------------------------------------------------------------------------------------- reductions

for op_type in ("ReduceMean", "ReduceSum"):

    def reduced(dims, keep, op_type=op_type):
        return lambda x, *_: (x.mean if op_type == "ReduceMean" else x.sum)(dims, keepdim=bool(keep))

    for keep in (0, 1):
        case(
            f"keepdims={keep}", op_type, R(2, 3, 4, 5), ints(2, 3), keepdims=keep, torch=reduced((2, 3), keep)
        )
        case(f"negative keepdims={keep}", op_type, R(2, 3, 4, 5), ints(-1, 1), keepdims=keep,
             torch=reduced((1, 3), keep))  # fmt: skip
        case(f"all keepdims={keep}", op_type, R(3, 4), keepdims=keep, torch=reduced((0, 1), keep))
        case(
            f"empty axes keepdims={keep}",
            op_type,
            R(3, 4),
            ints(),
            keepdims=keep,
            torch=reduced((0, 1), keep),
        )
    case("nothing to do", op_type, R(2, 3), ints(), noop_with_empty_axes=1, torch=lambda x, _: x * 1)
    case("nothing to do without axes", op_type, R(2, 3), noop_with_empty_axes=1, torch=lambda x: x * 1)

for exclusive in (0, 1):
    for backwards in (0, 1):
        case(f"exclusive={exclusive} reverse={backwards}", "CumSum", R(2, 3, 4), Constant(np.array(-2)),
             exclusive=exclusive, reverse=backwards)  # fmt: skip
case("", "CumSum", R(2, 4), Constant(np.array(1)), torch=lambda x, _: x.cumsum(1))
REDUCTIONS = {
    "ReduceL1": lambda x, dims, keep: x.abs().sum(dims, keep),
    "ReduceL2": lambda x, dims, keep: (x * x).sum(dims, keep).sqrt(),
    "ReduceLogSum": lambda x, dims, keep: x.sum(dims, keep).log(),
    "ReduceLogSumExp": lambda x, dims, keep: x.logsumexp(dims, keep),
    "ReduceMax": lambda x, dims, keep: x.amax(dims, keep),
    "ReduceMin": lambda x, dims, keep: x.amin(dims, keep),
    "ReduceProd": lambda x, dims, keep: x.prod(dims[-1], True).prod(dims[0], True).reshape(
        x.sum(dims, keepdim=keep).shape),
    "ReduceSumSquare": lambda x, dims, keep: (x * x).sum(dims, keep),
}  # fmt: skip
for op_type, function in REDUCTIONS.items():
    values = P if op_type in ("ReduceLogSum", "ReduceProd") else R
    for keep in (0, 1):
        for label, shape, axes in (
            ("axes", (2, 3, 4, 5), (2, 3)),
            ("negative axes", (2, 3, 4), (-1, 1)),
            ("one axis", (2, 5), (1,)),
            ("all", (3, 4), (0, 1)),
        ):
            given = [] if label == "all" else [ints(*axes)]
            dims = tuple(sorted(axis % len(shape) for axis in axes))
            case(f"{label} keepdims={keep}", op_type, values(*shape), *given, keepdims=keep,
                 torch=lambda x, *_, f=function, d=dims, k=bool(keep): f(x, d, k))  # fmt: skip
for op_type in ("ReduceLogSumExp", "ReduceMax", "ReduceMin", "ReduceProd"):
    case("nothing to do", op_type, P(2, 3), ints(), noop_with_empty_axes=1, torch=lambda x, _: x * 1)

# ---------------------------------------------------------------------------------------------- resizing

COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
for coordinates in COORDINATES:
    options = {"coordinate_transformation_mode": coordinates, "single": True, "opset": 19}
    for mode in ("linear", "cubic"):
        for height, width in ((10, 14), (3, 4), (7, 1)):
            case(f"{mode} {coordinates} to {height}x{width}", "Resize", R(3, 2, 5, 6), None, None,
                 ints(3, 2, height, width), mode=mode, **options)  # fmt: skip
        case(f"{mode} {coordinates} scales", "Resize", R(2, 2, 5, 6), None,
             Constant(np.array([1.0, 1.0, 1.7, 0.6])), mode=mode, **options)  # fmt: skip
    for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
        certain = (coordinates, rounding) not in UNCERTAIN
        sizes_tried = ((10, 15), (3, 4), (7, 1)) if certain else ((10, 12), (20, 3))
        tried = (1.7, 0.6) if certain else (2.0, 0.5)
        for height, width in sizes_tried:
            case(f"{rounding} {coordinates} to {height}x{width}", "Resize", R(3, 2, 5, 6), None, None,
                 ints(3, 2, height, width), nearest_mode=rounding, **options)  # fmt: skip
        case(f"{rounding} {coordinates} scales", "Resize", R(2, 2, 5, 6), None,
             Constant(np.array([1.0, 1.0, *tried])), nearest_mode=rounding, **options)  # fmt: skip


def resized(mode, **options):
    return lambda x, *sizes: F.interpolate(x, tuple(int(n) for n in sizes[-1][-2:]), mode=mode, **options)


for mode, name in (("linear", "bilinear"), ("cubic", "bicubic")):
    case(f"{mode} as torch", "Resize", R(3, 2, 5, 6), None, None, ints(3, 2, 9, 11), mode=mode, single=True,
         coordinate_transformation_mode="pytorch_half_pixel", torch=resized(name))  # fmt: skip
    case(f"{mode} aligned as torch", "Resize", R(3, 2, 5, 6), None, None, ints(3, 2, 9, 11), mode=mode,
         coordinate_transformation_mode="align_corners", single=True,
         torch=resized(name, align_corners=True))  # fmt: skip
    for height, width in ((3, 2), (9, 11), (2, 13)):
        case(f"{mode} antialias to {height}x{width}", "Resize", R(3, 2, 7, 6), None, None,
             ints(3, 2, height, width), mode=mode, antialias=1, single=True)  # fmt: skip
        case(f"{mode} antialias as torch to {height}x{width}", "Resize", R(3, 2, 7, 6), None, None,
             ints(3, 2, height, width), mode=mode, antialias=1, single=True, cubic_coeff_a=-0.5,
             exclude_outside=1, torch=resized(name, antialias=True))  # fmt: skip
case("excluding what is outside", "Resize", R(3, 2, 5, 6), None, None, ints(3, 2, 9, 4), mode="cubic",
     exclude_outside=1, cubic_coeff_a=-0.6, single=True)  # fmt: skip
case("upsampling as torch", "Resize", R(2, 3, 4, 5), None, Constant(np.array([1.0, 1.0, 2.0, 3.0])),
     coordinate_transformation_mode="asymmetric", nearest_mode="floor", single=True,
     torch=lambda x, *_: F.interpolate(x, scale_factor=(2, 3)))  # fmt: skip
case("axes", "Resize", R(2, 3, 4, 5), None, None, ints(7, 6), axes=[-1, 2], mode="linear", single=True,
     torch=lambda x, *_: F.interpolate(x, (6, 7), mode="bilinear"))  # fmt: skip
case("scales of axes", "Resize", R(2, 3, 4, 5), None, Constant(np.array([2.0])), axes=[2], single=True,
     torch=lambda x, *_: x.repeat_interleave(2, 2))  # fmt: skip
for policy in ("not_larger", "not_smaller"):
    case(policy, "Resize", R(2, 3, 4, 5), None, None, ints(7, 8), axes=[2, 3], mode="linear",
         keep_aspect_ratio_policy=policy, single=True)  # fmt: skip
case("1-D", "Resize", R(2, 3, 5), None, Constant(np.array([1.0, 1.0, 2.0])), mode="linear", single=True,
     torch=lambda x, *_: F.interpolate(x, scale_factor=2, mode="linear"))  # fmt: skip
case("3-D", "Resize", R(2, 3, 3, 4, 5), None, Constant(np.array([1.0, 1.0, 2.0, 1.5, 2.0])), single=True,
     mode="linear", torch=lambda x, *_: F.interpolate(
         x, scale_factor=(2, 1.5, 2), mode="trilinear"))  # fmt: skip
case("nothing to do", "Resize", R(2, 3, 4, 5), None, Constant(np.ones(4)), single=True)
for mode in ("nearest", "linear", "cubic"):
    case(f"{mode} of scales that leave the size", "Resize", R(2, 3, 4, 5), None,
         Constant(np.array([1.0, 1.0, 1.1, 1.15])), mode=mode, single=True)  # fmt: skip
case("scales that are there and empty", "Resize", R(2, 3, 4, 5), None, Constant(np.zeros(0)),
     ints(2, 3, 6, 7), mode="linear", single=True)  # fmt: skip

# ---------------------------------------------------------------------------------------------- structure

case("channels", "Concat", R(2, 3, 4), R(2, 1, 4), R(2, 5, 4), axis=1, torch=lambda *x: torch.cat(x, 1))
case("negative axis", "Concat", R(2, 3, 4), R(2, 3, 1), axis=-1, torch=lambda *x: torch.cat(x, -1))
case("single", "Concat", R(2, 3), axis=1, torch=lambda x: x * 1)
case("", "Dropout", R(2, 3), torch=lambda x: x * 1)
case("inference", "Dropout", R(2, 3), Constant(np.array(0.5)), Constant(np.array(False)), seed=3)
case("", "Flatten", R(2, 3, 4), torch=lambda x: x.flatten(1))
case("axis 2", "Flatten", R(3, 4, 5), axis=2, torch=lambda x: x.reshape(12, 5))
case("axis 0", "Flatten", R(3, 4), axis=0, torch=lambda x: x.reshape(1, 12))
case("negative axis", "Flatten", R(2, 3, 4), axis=-1, torch=lambda x: x.reshape(6, 4))
case("", "Identity", R(2, 3), torch=lambda x: x * 1)
case("", "Pad", R(2, 3, 4), ints(0, 1, 0, 0, 0, 2), torch=lambda x, _: F.pad(x, (0, 2, 1, 0)))
case("value", "Pad", R(2, 3, 4), ints(0, 0, 1, 0, 0, 1), Constant(np.array(7.0)),
     torch=lambda x, _, v: F.pad(x, (1, 1), value=7.0))  # fmt: skip
case("negative", "Pad", R(2, 5, 6), ints(0, -1, 2, 0, 0, -3), torch=lambda x, _: F.pad(x, (2, -3, -1, 0)))
case(
    "axes", "Pad", R(2, 5, 6), ints(1, 2, 0, 3), None, ints(-1, 1), torch=lambda x, *_: F.pad(x, (1, 0, 2, 3))
)
case("", "Reshape", R(2, 3, 4), ints(2, 12), torch=lambda x, _: x.reshape(2, 12))
case("0 and -1", "Reshape", R(2, 3, 4), ints(0, -1), torch=lambda x, _: x.reshape(2, 12))
case("-1 in front", "Reshape", R(2, 3, 4), ints(-1, 4), torch=lambda x, _: x.reshape(6, 4))
case("allowzero", "Reshape", R(2, 3, 4), ints(-1, 2, 6), allowzero=1, torch=lambda x, _: x.reshape(2, 2, 6))
case("axis", "Slice", R(2, 5, 6), ints(1), ints(4), ints(1), torch=lambda x, *_: x[:, 1:4])
case("no axes", "Slice", R(4, 5), ints(1, 0), ints(4, 4), torch=lambda x, *_: x[1:4, :4])
case("batch kept", "Slice", R(2, 5), ints(0, 1), ints(2**63 - 1, 3), torch=lambda x, *_: x[:, 1:3])
case(
    "negative ends",
    "Slice",
    R(2, 5, 6),
    ints(-3, 0),
    ints(2**62, -1),
    ints(-1, 1),
    torch=lambda x, *_: x[:, :-1, -3:],
)
case("out of range", "Slice", R(2, 5), ints(-99), ints(99), ints(1), torch=lambda x, *_: x[:, :])
case("step 2", "Slice", R(2, 3, 7, 8), ints(0, 1), ints(7, 8), ints(2, 3), ints(2, 2),
     torch=lambda x, *_: x[:, :, ::2, 1::2])  # fmt: skip
case("step 3 short", "Slice", R(2, 11), ints(1), ints(6), ints(1), ints(3), torch=lambda x, *_: x[:, 1:6:3])
case(
    "step 4 at the end",
    "Slice",
    R(3, 5, 9),
    ints(0),
    ints(9),
    ints(2),
    ints(4),
    torch=lambda x, *_: x[:, :, ::4],
)
case("lengths", "Split", R(2, 6), ints(1, 3, 2), axis=1, outputs=3, torch=lambda x, _: x.split([1, 3, 2], 1))
case("number", "Split", R(2, 3, 7), axis=-1, num_outputs=2, outputs=2, torch=lambda x: x.split([4, 3], 2))
case("axes", "Squeeze", R(2, 1, 4, 1), ints(-1, 1), torch=lambda x, _: x.reshape(2, 4))
case("all", "Squeeze", R(3, 1, 4), torch=lambda x: x.squeeze())
case("", "Unsqueeze", R(2, 4), ints(1, -1), torch=lambda x, _: x[:, None, :, None])
case("", "Transpose", R(2, 3, 4), perm=[0, 2, 1], torch=lambda x: x.permute(0, 2, 1))
case("rotation", "Transpose", R(2, 3, 4, 5), perm=[0, 2, 3, 1], torch=lambda x: x.permute(0, 2, 3, 1))
case("default", "Transpose", R(3, 4, 5), torch=lambda x: x.permute(2, 1, 0))
for mode in ("DCR", "CRD"):
    case(mode, "DepthToSpace", R(2, 12, 3, 4), blocksize=2, mode=mode,
         torch=(lambda x: F.pixel_shuffle(x, 2)) if mode == "CRD" else None)  # fmt: skip
case("odd", "DepthToSpace", R(2, 9, 1, 2), blocksize=3)
case("", "SpaceToDepth", R(2, 3, 4, 6), blocksize=2)
case("of torch's order", "SpaceToDepth", R(2, 1, 4, 6), blocksize=2, torch=lambda x: F.pixel_unshuffle(x, 2))
case("", "Expand", R(2, 1, 4), ints(2, 3, 4), torch=lambda x, _: x.expand(2, 3, 4))
case("lower rank", "Expand", R(3, 1), ints(4, 1, 5), torch=lambda x, _: x.expand(4, 3, 5))
case("keeps an extent", "Expand", R(2, 3, 1), ints(1, 1, 5), torch=lambda x, _: x.expand(2, 3, 5))
case("scalar index", "Gather", R(2, 5, 3), Constant(np.array(2)), axis=1, torch=lambda x, i: x[:, i])
case("negative scalar", "Gather", R(2, 5, 3), Constant(np.array(-1)), axis=-1, torch=lambda x, i: x[..., -1])
case("contiguous", "Gather", R(2, 5, 3), ints(1, 2, 3), axis=1, torch=lambda x, i: x[:, 1:4])
case("shuffle", "Gather", R(2, 5, 3), ints(3, 0, 4, 1, 2), axis=1, torch=lambda x, i: x[:, i])
case("some", "Gather", R(2, 5, 3), ints(3, -5), axis=1, torch=lambda x, i: x[:, i])
case("repeated", "Gather", R(2, 5, 3), ints(3, 0, 3, 1, 3), axis=1, torch=lambda x, i: x[:, i])
case("often repeated", "Gather", R(2, 5, 3), ints(3, 0, 3, 1, 3, 3, 3, 3), axis=1, torch=lambda x, i: x[:, i])
case("table", "Gather", R(2, 5, 3, 4), Constant(np.array([[4, 0], [1, 1], [2, 4]])), axis=1,
     torch=lambda x, i: x[:, i])  # fmt: skip
case("first axis", "Gather", R(5, 3), ints(3, 0, 3), torch=lambda x, i: x[i])
case("axis 1", "GatherElements", R(2, 4, 3), Constant(rng.integers(-4, 4, (2, 5, 3))), axis=1,
     torch=lambda x, i: x.gather(1, i % 4))  # fmt: skip
case("", "GatherElements", R(4, 3), Constant(rng.integers(0, 4, (2, 3))), torch=lambda x, i: x.gather(0, i))
case("elements", "GatherND", R(4, 3), Constant(np.array([[0, 1], [3, 2], [0, 1], [-1, -1]])),
     torch=lambda x, i: x[i[:, 0], i[:, 1]])  # fmt: skip
case("slices", "GatherND", R(4, 3, 5), Constant(np.array([[[0, 1]], [[3, 2]]])),
     torch=lambda x, i: x[i[..., 0], i[..., 1]])  # fmt: skip
ELEMENTS = Constant(np.array([[[0, 3, 1]], [[2, -1, 0]]]))
ROWS = Constant(np.array([[3], [0]]))
case("", "ScatterElements", R(2, 4, 3), ELEMENTS, R(2, 1, 3), axis=1,
     torch=lambda x, i, u: x.scatter(1, i % 4, u))  # fmt: skip
case("added", "ScatterElements", R(2, 4, 3), ELEMENTS, R(2, 1, 3), axis=-2, reduction="add",
     torch=lambda x, i, u: x.scatter_add(1, i % 4, u))  # fmt: skip
case("", "ScatterND", R(4, 3), ROWS, R(2, 3), torch=lambda x, i, u: x.index_put((i[:, 0],), u))
case("added", "ScatterND", R(4, 3), ROWS, R(2, 3), reduction="add",
     torch=lambda x, i, u: x.index_put((i[:, 0],), u, accumulate=True))  # fmt: skip
case("added twice", "ScatterND", R(4, 3), Constant(np.array([[3], [3]])), R(2, 3), reduction="add")
PLACES = Constant(rng.integers(-4, 4, (2, 6, 3)))  # several updates meet at some places
for reduction, torchs in (("max", "amax"), ("min", "amin"), ("mul", "prod")):
    case(reduction, "ScatterElements", R(2, 4, 3), PLACES, R(2, 6, 3), axis=1, reduction=reduction,
         torch=lambda x, i, u, r=torchs: x.scatter_reduce(1, i % 4, u, r))  # fmt: skip
    case(reduction, "ScatterND", R(4, 3), Constant(np.array([[3], [0], [3], [-1]])), R(4, 3),
         reduction=reduction,
         torch=lambda x, i, u, r=torchs: x.scatter_reduce(0, (i % 4).expand(4, 3), u, r))  # fmt: skip
case("", "CenterCropPad", R(2, 5, 9), ints(8, 4), axes=[1, 2],
     torch=lambda x, _: F.pad(x, (0, 0, 1, 2))[:, :, 2:6])  # fmt: skip
case("all axes", "CenterCropPad", R(5, 6, 4), ints(3, 6, 7), torch=lambda x, _: F.pad(x, (1, 2))[1:4])
case("negative axis", "CenterCropPad", R(2, 6, 4), ints(3), axes=[-2], torch=lambda x, _: x[:, 1:4])
for mode, name in (("reflect", "reflect"), ("edge", "replicate"), ("wrap", "circular")):
    case(mode, "Pad", R(2, 3, 4, 5), ints(0, 0, 2, 1, 0, 0, 3, 4), mode=mode, opset=19,
         torch=lambda x, _, name=name: F.pad(x, (1, 4, 2, 3), name))  # fmt: skip
    case(f"{mode} axes", "Pad", R(2, 3, 4), ints(3, 0), None, ints(-1), mode=mode, opset=19,
         torch=lambda x, *_, name=name: F.pad(x, (3, 0), name))  # fmt: skip
case("edge wide", "Pad", R(2, 3, 4), ints(0, 2, 9, 0, 3, 8), mode="edge")
for largest in (0, 1):
    case(f"largest={largest}", "TopK", rng.permutation(30).reshape(2, 5, 3) / 3, ints(2), axis=1, outputs=2,
         largest=largest, torch=lambda x, k, f=bool(largest): x.topk(2, 1, f)[0])  # fmt: skip
case("reversed", "Slice", R(2, 5, 6), ints(-1), ints(-(2**62)), ints(1), ints(-1),
     torch=lambda x, *_: x.flip(1))  # fmt: skip
case("backwards", "Slice", R(2, 7, 9), ints(5, 8), ints(0, 1), ints(1, -1), ints(-2, -3),
     torch=lambda x, *_: x[:, [5, 3, 1]][:, :, [8, 5, 2]])  # fmt: skip
case("", "Tile", R(2, 3, 4), ints(1, 2, 3), torch=lambda x, _: x.repeat(1, 2, 3))
case("of the batch", "Tile", R(2, 3), ints(3, 1), torch=lambda x, _: x.repeat(3, 1))
case("of nothing", "Tile", R(2, 3), ints(1, 1), torch=lambda x, _: x * 1)
case("", "Trilu", R(2, 4, 5), torch=lambda x: x.triu())
case("lower", "Trilu", R(2, 4, 5), Constant(np.array(1)), upper=0, torch=lambda x, _: x.tril(1))
case("", "Where", Constant(np.array([[True], [False], [True]])), R(2, 3, 4), R(2, 3, 4),
     torch=lambda c, a, b: torch.where(c, a, b))  # fmt: skip
case("broadcast", "Where", Constant(np.array([True, False, True, False])), R(3, 1), R(2, 1, 4),
     torch=lambda c, a, b: torch.where(c, a, b))  # fmt: skip
case("a number", "Where", Constant(rng.random((3, 4)) > 0.5), Constant(np.array(-9.0)), R(2, 3, 4),
     torch=lambda c, a, b: torch.where(c, a, b))  # fmt: skip

# ---------------------------------------------------------------------------------------------- types

case("", "Cast", R(2, 3), to=onnx.TensorProto.DOUBLE, torch=lambda x: x * 1)
case("", "CastLike", R(2, 3), Constant(np.array(1.0)), torch=lambda x, _: x * 1)


# ---------------------------------------------------------------------------------------------- the check


def element(array):
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def session(nodes, inputs, weights, outputs, opset):
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(name, element(v), v.shape) for name, v in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def typed(array, batched):
    shape = tuple(array.shape)
    free = batched and shape[:1] == (BATCH,)
    return TensorType(element(array), (None, *shape[1:]) if free else shape)


class Node:
    """A case's node in ONNX Runtime: its forward pass, and its gradients by the rules."""

    def __init__(self, case):
        dtype = np.float32 if case.single or case.curved else np.float64
        self.opset = case.opset
        self.inputs, self.weights, names = {}, {}, []
        for i, value in enumerate(case.inputs):
            names.append("" if value is None else f"x{i}")
            if isinstance(value, Constant):
                array = value.value
                self.weights[f"x{i}"] = array.astype(dtype) if array.dtype.kind == "f" else array
            elif value is not None:
                self.inputs[f"x{i}"] = np.asarray(value, dtype)
        self.outputs = ["y"] if case.outputs == 1 else [f"y{i}" for i in range(case.outputs)]
        self.node = helper.make_node(case.op, names, self.outputs, name="node", **case.attributes)
        self.forward_session = session([self.node], self.inputs, self.weights, self.outputs, self.opset)
        if case.op == "TopK":  # whose indices have no gradient
            self.outputs = self.outputs[:1]
        self.y = self.forward(self.inputs)
        self.u = [np.asarray(rng.standard_normal(y.shape), y.dtype) for y in self.y]

    def forward(self, inputs):
        return self.forward_session.run(None, inputs)[: len(self.outputs)]

    def gradients(self):
        types = {name: typed(v, True) for name, v in self.inputs.items()}
        types |= {name: typed(v, False) for name, v in self.weights.items()}
        types |= {name: typed(v, True) for name, v in zip(self.outputs, self.y, strict=True)}
        op = Builder("sise_rt/", types, self.weights, self.y[0].dtype)
        seeds = {name: f"u_{name}" for name in self.outputs}
        found = reverse(op, [self.node], seeds, list(self.inputs))
        given = self.inputs | {f"u_{n}": u for n, u in zip(self.outputs, self.u, strict=True)}
        weights = self.weights | op.constants
        graph = session([self.node, *op.nodes], given, weights, list(found.values()), self.opset)
        return dict(zip(found, graph.run(None, given), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rule_is_the_adjoint_of_the_forward_pass(case):
    node = Node(case)
    found = node.gradients()
    v = {name: np.asarray(rng.standard_normal(x.shape), x.dtype) for name, x in node.inputs.items()}

    def difference(step):
        ahead = node.forward({n: np.asarray(x + x.dtype.type(step) * v[n]) for n, x in node.inputs.items()})
        behind = node.forward({n: np.asarray(x - x.dtype.type(step) * v[n]) for n, x in node.inputs.items()})
        return [(a.astype(np.float64) - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]

    if case.curved:  # of fourth order, for a step that float32 still resolves
        tolerance = 1e-4
        moved = [(4 * a - b) / 3 for a, b in zip(difference(0.02), difference(0.04), strict=True)]
    else:
        step, tolerance = (1.0, 2e-5) if case.single else (1e-6, 1e-7)
        moved = difference(step)
    forward = sum(np.vdot(u, m) for u, m in zip(node.u, moved, strict=True))
    backward = sum(np.vdot(found[name].astype(np.float64), v[name]) for name in found)
    scale = sum(np.linalg.norm(u) * np.linalg.norm(m) for u, m in zip(node.u, moved, strict=True))
    assert abs(forward - backward) <= tolerance * scale
    for name, gradient in found.items():
        assert gradient.shape == node.inputs[name].shape
        assert gradient.dtype == node.inputs[name].dtype


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("case", [case for case in CASES if case.torch], ids=lambda case: case.name)
def test_rule_equals_autograd(case):
    node = Node(case)
    found = node.gradients()
    arguments = {
        name: torch.from_numpy(np.array(value)).requires_grad_(name in node.inputs)
        for name, value in sorted((node.inputs | node.weights).items())
    }
    y = case.torch(*arguments.values())
    y = list(y) if isinstance(y, (tuple, list)) else [y]
    tolerance = 1e-5 if case.single or case.curved else 1e-6  # attributes are float32
    for mine, theirs in zip(node.y, y, strict=True):
        np.testing.assert_allclose(mine, theirs.detach(), tolerance, tolerance)
    wanted = torch.autograd.grad(y, [arguments[n] for n in found], [torch.from_numpy(u) for u in node.u])
    for mine, theirs in zip(found.values(), wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, tolerance, tolerance)


QUANTISATION = {"DequantizeLinear", "QuantizeLinear"}  # tested together: the tensor between is of integers


def test_every_rule_is_tested():
    assert {case.op for case in CASES} | QUANTISATION == RULES.keys()
    assert not PIECEWISE_CONSTANT & RULES.keys()
    assert SEVERAL_OUTPUTS <= RULES.keys()


RENAMED = {("GridSample", "bilinear"): "linear"}  # one mode, under its name up to operator set 16 and since


def parameters(op_type):
    """A rule's inputs and attributes, without `op`, `g` and `y`."""
    given = list(inspect.signature(RULES[op_type]).parameters.values())[3:]
    return [p for p in given if p.kind != p.KEYWORD_ONLY], {
        p.name: p for p in given if p.kind == p.KEYWORD_ONLY
    }


@pytest.fixture(scope="module")
def table():
    if onnx.defs.onnx_opset_version() < 24:
        pytest.skip("needs the operator sets up to 24")
    from docs import operators

    return operators


def test_signatures_and_defaults_are_onnxs(table):
    for op_type, versions in table.schemas().items():
        inputs, attributes = parameters(op_type)
        for schema in versions:
            variadic = any(p.kind == p.VAR_POSITIONAL for p in inputs)
            assert variadic or len(inputs) >= len(schema.inputs), op_type
            assert schema.attributes.keys() <= attributes.keys(), op_type
            for name, attribute in schema.attributes.items():
                if not attribute.default_value.type:
                    continue
                wanted, found = helper.get_attribute_value(attribute.default_value), attributes[name].default
                wanted = wanted.decode() if isinstance(wanted, bytes) else wanted
                wanted = tuple(wanted) if isinstance(wanted, list) else wanted
                wanted = RENAMED.get((op_type, wanted), wanted)
                assert found == (pytest.approx(wanted) if isinstance(wanted, float) else wanted), op_type


def test_the_page_of_operators_is_what_its_script_prints(table, capsys):
    table.main()
    page = Path(table.__file__).with_suffix(".md").read_text(encoding="utf-8")
    assert page == capsys.readouterr().out


def test_the_page_names_the_inputs_whose_gradients_are_tested(table):
    tested = {op_type: set() for op_type in RULES}
    for case in CASES:
        tested[case.op] |= {
            i for i, x in enumerate(case.inputs) if x is not None and not isinstance(x, Constant)
        }
    for op_type, versions in table.schemas().items():
        if op_type in QUANTISATION:
            continue
        names = [entry.name for entry in versions[-1].inputs]
        last = len(names) - 1  # of a variadic operator, the one that repeats
        found = {names[min(i, last)] for i in tested[op_type]}
        assert found == set(table.differentiable(versions[-1])), op_type


# ---------------------------------------------------------------------------------------------- single rules


@pytest.mark.parametrize("function", ["Add", "Div", "Mul", "Sub", "MatMul"])
def test_one_tensor_on_both_inputs(function):
    x = P(3, 3)
    node = Node(Case("", function, (x, x), {}))
    node.node.input[:] = ["x0", "x0"]
    node.inputs = {"x0": x}
    y = {"Add": x + x, "Div": x / x, "Mul": x * x, "Sub": x - x, "MatMul": x @ x}[function]
    wanted = {
        "Add": 2 * node.u[0],
        "Div": 0 * x,
        "Mul": 2 * x * node.u[0],
        "Sub": 0 * x,
        "MatMul": node.u[0] @ x.T + x.T @ node.u[0],
    }[function]
    node.y = [y]
    np.testing.assert_allclose(node.gradients()["x0"], wanted, 1e-12, 1e-12)


@pytest.mark.parametrize("group", [1, 2, 6])
def test_weights_are_turned_when_the_session_opens(group, tmp_path):
    """The gradient of a convolution of stride 1 is one convolution, also where the weights lie beside."""
    w = rng.standard_normal((6, 6 // group, 3, 3)).astype(np.float32)
    (tmp_path / "weights.bin").write_bytes(w.tobytes())
    types = {name: TensorType(onnx.TensorProto.FLOAT, (1, 6, 7, 8)) for name in "xy"} | {"w": typed(w, False)}
    op = Builder("sise_rt/", types, {"w": w})
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=group, pads=[1] * 4)
    found = reverse(op, [node], {"y": "u"}, ["x"])["x"]
    outside = onnx.TensorProto(name="w", data_type=1, dims=w.shape, data_location=onnx.TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="weights.bin")
    graph = helper.make_graph(
        op.nodes,
        "g",
        [helper.make_tensor_value_info("u", 1, (1, 6, 7, 8))],
        [onnx.ValueInfoProto(name=found)],
        [outside, *(numpy_helper.from_array(v, name) for name, v in op.constants.items())],
    )
    path, optimised = tmp_path / "m.onnx", tmp_path / "optimised.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(optimised)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    assert [node.op_type for node in onnx.load(optimised).graph.node] == ["Conv"]


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_ties_of_a_pooling_go_where_torch_sends_them(value):
    case = Case("", "MaxPool", (np.full((2, 3, 9, 9), value),), {"kernel_shape": [3, 3], "strides": [2, 2]})
    node = Node(case)
    x = torch.full((2, 3, 9, 9), value, dtype=torch.float64, requires_grad=True)
    (wanted,) = torch.autograd.grad(F.max_pool2d(x, 3, 2), x, torch.from_numpy(node.u[0]))
    np.testing.assert_allclose(node.gradients()["x0"], wanted, 1e-12, 1e-12)


QUANTISED = {
    "per tensor": (2.5 * R(2, 3, 4), np.array(0.02), np.array(3, np.int8), {}),
    "no zero point": (4 * R(2, 3, 4), np.array(0.02), None, {}),
    "per channel": (9 * R(2, 3, 4), np.array([0.02, 0.1, 0.05]), np.array([3, -7, 0], np.int8), {"axis": -2}),
    "last axis": (2 * R(2, 3, 4), np.array([0.02, 0.1, 0.05, 0.01]), np.full(4, 128, np.uint8), {"axis": 2}),
    "16 bits": (900 * R(2, 3), np.array([0.02]), np.array([9], np.int16), {}),
}


@pytest.mark.parametrize("name", QUANTISED)
def test_quantisation_passes_straight_through_where_it_does_not_saturate(name):
    x, scale, zero_point, attributes = QUANTISED[name]
    x, scale = x.astype(np.float32), scale.astype(np.float32)
    weights = {"scale": scale} | ({} if zero_point is None else {"zero": zero_point})
    parameters = list(weights)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *parameters], ["q"], **attributes),
        helper.make_node("DequantizeLinear", ["q", *parameters], ["y"], **attributes),
    ]
    q, y = session(nodes, {"x": x}, weights, ["q", "y"], 21).run(None, {"x": x})
    assert (y != x).any()
    types = {"x": typed(x, True), "q": typed(q, True), "y": typed(y, True)}
    types |= {key: typed(value, False) for key, value in weights.items()}
    op = Builder("sise_rt/", types, weights)
    found = reverse(op, nodes, {"y": "u"}, ["x"])["x"]
    u = rng.standard_normal(x.shape).astype(np.float32)
    graph = session([*nodes, *op.nodes], {"x": x, "u": u}, weights | op.constants, [found], 21)
    shape = [1] * x.ndim
    if scale.size > 1:
        shape[attributes["axis"]] = -1
    zero = np.zeros(1) if zero_point is None else zero_point.astype(np.float64)
    level = np.rint(x / scale.reshape(shape)) + zero.reshape(shape if zero.size > 1 else ())
    limits = np.iinfo(q.dtype)
    inside = (level >= limits.min) & (level <= limits.max)
    assert 0 < inside.sum() < inside.size
    np.testing.assert_allclose(graph.run(None, {"x": x, "u": u})[0], np.where(inside, u, 0), 1e-6)


TIED = {
    "Max": (2, {}, lambda a, b: torch.maximum(a, b)),
    "Min": (2, {}, lambda a, b: torch.minimum(a, b)),
    "ReduceMax": (1, {"keepdims": 0}, lambda x: x.amax()),
    "ReduceMin": (1, {}, lambda x: x.amin((0, 1), keepdim=True)),
    "Abs": (1, {}, lambda x: x.abs()),
    "Elu": (1, {}, lambda x: F.elu(x)),
    "Softsign": (1, {}, lambda x: F.softsign(x)),
    "PRelu": (2, {}, lambda x, w: torch.where(x > 0, x, w * x)),
    "ReduceL1": (1, {}, lambda x: x.abs().sum((0, 1), keepdim=True)),
    "ReduceL2": (1, {}, lambda x: torch.linalg.vector_norm(x, dim=(0, 1), keepdim=True)),
    "ReduceProd": (1, {}, lambda x: x.prod().reshape(1, 1)),
}


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize(
    "points", [[[0.0, 0.0, 0.0]], [[0.0, 2.0, 2.0]], [[-1.0, 0.0, -1.0]], [[3.0, -2.0, 0.0]]], ids=str
)
@pytest.mark.parametrize("op_type", TIED)
def test_ties_and_zeros_are_torchs(op_type, points):
    count, attributes, function = TIED[op_type]
    inputs = (np.array(points), np.array([[0.0, 2.0, -1.0]]))[:count]
    node = Node(Case("", op_type, inputs, attributes))
    tensors = [torch.from_numpy(x).requires_grad_() for x in inputs]
    wanted = torch.autograd.grad(function(*tensors), tensors, torch.from_numpy(node.u[0]))
    for mine, theirs in zip(node.gradients().values(), wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, 1e-12, 1e-12)


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize(("reduction", "torchs"), [("max", "amax"), ("min", "amin"), ("mul", "prod")])
def test_updates_that_tie_or_are_zero_are_torchs(reduction, torchs):
    x, updates = np.array([[1.0, 0.0, 2.0, 0.0]]), np.array([[1.0, 1.0, 0.0, 3.0, -2.0, 0.0, 0.0, 5.0]])
    places = np.array([[0, 0, 1, 2, 2, 2, 3, 3]])
    node = Node(
        Case("", "ScatterElements", (x, Constant(places), updates), {"axis": 1, "reduction": reduction})
    )
    tensors = [torch.from_numpy(value).requires_grad_() for value in (x, updates)]
    y = tensors[0].scatter_reduce(1, torch.from_numpy(places), tensors[1], torchs)
    wanted = torch.autograd.grad(y, tensors, torch.from_numpy(node.u[0]))
    for mine, theirs in zip(node.gradients().values(), wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, 1e-12, 1e-12)


@pytest.mark.skipif(torch is None, reason="needs torch")
def test_values_that_lie_on_one_place_of_an_unpooling_get_what_torchs_do():
    x, places = np.ones((1, 1, 1, 2)), np.array([[[[3, 3]]]])
    options = {"kernel_shape": [2, 2], "strides": [2, 2]}
    node = Node(Case("", "MaxUnpool", (x, Constant(places)), options, single=True))
    tensor = torch.from_numpy(x.astype(np.float32)).requires_grad_()
    y = F.max_unpool2d(tensor, torch.from_numpy(places), 2, 2)
    (wanted,) = torch.autograd.grad(y, tensor, torch.from_numpy(node.u[0]))
    np.testing.assert_allclose(node.gradients()["x0"], wanted, 1e-6)


def test_three_inputs_that_tie_share_evenly():
    node = Node(Case("", "Max", (np.ones((2, 3)), np.ones((2, 3)), np.ones((2, 3))), {}))
    for gradient in node.gradients().values():
        np.testing.assert_allclose(gradient, node.u[0] / 3, 1e-12)


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes"),
    [
        ("Sqrt", (), {}),
        ("Pow", (Constant(np.array(0.5)),), {}),
        ("Pow", (Constant(np.array(0.0)),), {}),
        ("Pow", (np.full((3, 4), 0.5),), {}),
        ("LpNormalization", (), {}),
        ("LpNormalization", (), {"p": 1}),
        ("ReduceL2", (ints(1),), {}),
    ],
    ids=str,
)
def test_nothing_where_a_slope_would_be_infinite(op_type, inputs, attributes):
    node = Node(Case("", op_type, (np.zeros((3, 4)), *inputs), attributes))
    for gradient in node.gradients().values():
        np.testing.assert_array_equal(gradient, 0.0)


@pytest.mark.parametrize(
    ("op_type", "shape", "attributes"),
    [
        ("LpPool", (3, 2, 4, 4), {"kernel_shape": [2, 2]}),
        ("GlobalLpPool", (3, 2, 4, 4), {}),
        ("LRN", (3, 2, 4, 4), {"size": 3}),
        ("MeanVarianceNormalization", (3, 2, 4, 4), {}),
    ],
    ids=str,
)
def test_zeros_give_no_nan(op_type, shape, attributes):
    node = Node(Case("", op_type, (np.zeros(shape),), attributes, curved=True))
    assert np.isfinite(node.gradients()["x0"]).all()


KINKS = {
    "Relu": ((), {}, lambda x: F.relu(x)),
    "LeakyRelu": ((), {}, lambda x: F.leaky_relu(x)),
    "HardSigmoid": ((), {"alpha": 1 / 6, "beta": 0.5}, lambda x: F.hardsigmoid(x)),
    "Clip": ((Constant(np.array(0.0)), Constant(np.array(6.0))), {}, lambda x: F.relu6(x)),
}


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("op_type", KINKS)
def test_slope_at_a_kink_is_torchs(op_type):
    more, attributes, function = KINKS[op_type]
    points = np.array([[-3.0, 0.0, 3.0, 6.0]])
    node = Node(Case("", op_type, (points, *more), attributes))
    x = torch.from_numpy(points).requires_grad_()
    (wanted,) = torch.autograd.grad(function(x), x, torch.from_numpy(node.u[0]))
    np.testing.assert_allclose(node.gradients()["x0"], wanted, 1e-12, 1e-12)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("shape", [(), (4,), (2, 3)], ids=str)
def test_gather_at_computed_indices(axis, shape):
    x, indices = rng.standard_normal((5, 5, 5)), rng.integers(-5, 5, shape)
    node = Node(Case("", "Gather", (x, Constant(indices)), {"axis": axis}))
    wanted = np.zeros_like(x)
    np.add.at(wanted, (*[slice(None)] * (axis % 3), indices), node.u[0])
    types = {"x0": typed(x, False), "x1": typed(indices, False), "y": typed(node.y[0], False)}
    op = Builder("sise_rt/", types, {}, np.float64)
    found = reverse(op, [node.node], {"y": "u"}, ["x0"])["x0"]
    given = {"x0": x, "x1": indices, "u": node.u[0]}
    graph = session([node.node, *op.nodes], given, op.constants, [found], 18)
    np.testing.assert_allclose(graph.run(None, given)[0], wanted, 1e-12)


@pytest.mark.parametrize("like", [False, True])
def test_a_cast_gives_the_gradient_back_in_the_type_of_its_input(like):
    x, u = R(2, 3).astype(np.float32), R(2, 3)
    double = onnx.TensorProto.DOUBLE
    node = (
        helper.make_node("CastLike", ["x", "w"], ["y"])
        if like
        else helper.make_node("Cast", ["x"], ["y"], to=double)
    )
    weights = {"w": np.zeros(1)} if like else {}
    types = {"x": typed(x, True), "y": typed(u, True), "w": typed(np.zeros(1), False)}
    op = Builder("sise_rt/", types, weights)
    found = reverse(op, [node], {"y": "u"}, ["x"])["x"]
    (gradient,) = session([*op.nodes], {"x": x, "u": u}, op.constants, [found], 18).run(
        None, {"x": x, "u": u}
    )
    assert gradient.dtype == np.float32
    np.testing.assert_array_equal(gradient, u.astype(np.float32))


def refusal(op_type, *inputs, outputs=("y",), weights=(), shape=(2, 3, 8, 8), **attributes):
    node = helper.make_node(op_type, ["x", *inputs], list(outputs), name="the_node", **attributes)
    result = (None, 3, 9, 9) if op_type == "Resize" else (None, *shape[1:])
    types = {"x": TensorType(1, (None, *shape[1:])), "y": TensorType(1, result)}
    weights = dict(weights)
    types |= {name: TensorType(element(value), value.shape) for name, value in weights.items()}
    op = Builder("sise_rt/", types, weights)
    with pytest.raises(ModelError) as caught:
        reverse(op, [node], {"y": "u"}, ["x"])
    return caught.value


@pytest.mark.parametrize("op_type", ["Relu", "Conv", "Mul", "Softmax", "MaxPool"])
def test_unknown_attribute_is_refused(op_type):
    required = {"MaxPool": {"kernel_shape": [1, 1]}}.get(op_type, {})
    second = {"Conv": ["w"], "Mul": ["w"]}.get(op_type, [])
    weights = {"w": np.ones((3, 3, 1, 1), np.float32)}
    error = refusal(op_type, *second, weights=weights, surprise=1, **required)
    assert isinstance(error, UnsupportedOperator)
    assert re.search(rf"'the_node'.*{op_type}.*'surprise'", str(error))


@pytest.mark.parametrize(
    ("op_type", "arguments", "words"),
    [
        ("Conv", {"inputs": ["w"], "pads": [-1, 0, 0, 0]}, "negative"),
        ("ReduceMean", {"inputs": ["zero"]}, "batch"),
        (
            "Resize",
            {
                "inputs": ["", "scales"],
                "coordinate_transformation_mode": "asymmetric",
                "nearest_mode": "round_prefer_ceil",
            },
            "rounding",
        ),
        (
            "Resize",
            {"inputs": ["", "scales"], "coordinate_transformation_mode": "tf_crop_and_resize"},
            "tf_crop_and_resize",
        ),
        ("Resize", {"inputs": ["", "scales"], "coordinate_transformation_mode": "sideways"}, "sideways"),
        ("Resize", {"inputs": ["", "scales"], "nearest_mode": "sideways"}, "sideways"),
        ("Resize", {"inputs": ["", "scales"], "mode": "sideways"}, "sideways"),
        ("Resize", {"inputs": ["", "dynamic"]}, "constant is needed"),
        ("Pad", {"inputs": ["shrinking"], "mode": "reflect"}, "negative"),
        ("Pad", {"inputs": ["inner"], "mode": "sideways"}, "sideways"),
        ("Pad", {"inputs": ["pads"], "mode": "edge"}, "batch"),
        ("Gather", {"inputs": ["zero"]}, "batch"),
        ("GatherND", {"inputs": ["zero"], "batch_dims": 1}, "batch_dims"),
        ("ScatterElements", {"inputs": ["zero", "w"], "reduction": "sideways"}, "sideways"),
        ("ScatterND", {"inputs": ["zero", "w"], "reduction": "sideways"}, "sideways"),
        ("GridSample", {"inputs": ["w"], "mode": "cubic"}, "cubic"),
        ("GridSample", {"inputs": ["w"], "padding_mode": "sideways"}, "sideways"),
        ("MaxUnpool", {"inputs": ["zero"], "kernel_shape": [2, 2], "strides": [2, 2]}, "own size"),
        ("Gelu", {"approximate": "sideways"}, "sideways"),
        ("ReduceL2", {"noop_with_empty_axes": 1}, "noop_with_empty_axes"),
        ("ConvTranspose", {"inputs": ["w"], "pads": [-1, 0, 0, 0]}, "negative"),
        ("Einsum", {"equation": "nchh->nc"}, "repeated"),
        ("Einsum", {"inputs": ["c"], "equation": "nchw,h->nc"}, "broadcasting"),
        ("QuantizeLinear", {"inputs": ["c"], "block_size": 4}, "blocks"),
        ("DequantizeLinear", {"inputs": ["w"], "block_size": 4}, "blocks"),
        ("QuantizeLinear", {"inputs": ["c"], "output_dtype": onnx.TensorProto.FLOAT8E4M3FN}, "integers"),
        ("Dropout", {"inputs": ["", "true"]}, "training mode"),
        ("BatchNormalization", {"inputs": ["c", "c", "c", "c"], "training_mode": 1}, "training mode"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_rule_does_not_cover_is_refused(op_type, arguments, words):
    weights = {
        "w": np.ones((3, 3, 1, 1), np.float32),
        "pads": np.ones(8, np.int64),
        "shrinking": np.array([0, 0, -1, 0, 0, 0, 1, 0]),
        "scales": np.array([1, 1, 1.2, 1.2], np.float32),
        "inner": np.array([0, 1, 1, 1, 0, 1, 1, 1]),
        "one": np.array([1]),
        "minus": np.array([-1]),
        "zero": np.array([0]),
        "true": np.array(True),
        "c": np.ones(3, np.float32),
    }
    arguments = dict(arguments)
    error = refusal(op_type, *arguments.pop("inputs", []), weights=weights, **arguments)
    assert "'the_node'" in str(error)
    assert words in str(error)


def test_a_second_rule_for_an_operator_is_refused():
    with pytest.raises(ValueError, match="two rules for Relu"):
        rule("Relu")(lambda op, g, y, x: (g,))
