"""Every gradient rule against central differences of ONNX Runtime's own forward pass, and against torch."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from sise_rt.export.builder import Builder
from sise_rt.export.gradients import reverse
from sise_rt.export.network import TensorType
from sise_rt.export.rules import PIECEWISE_CONSTANT, RULES, SEVERAL_OUTPUTS, vjp

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


CASES: list[Case] = []


def case(name, op, *inputs, torch=None, outputs=1, single=False, **attributes):
    CASES.append(Case(f"{op} {name}".strip(), op, inputs, attributes, torch, outputs, single))


def R(*shape):
    return rng.standard_normal(shape)


def P(*shape):
    return rng.uniform(0.5, 2.0, shape)


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
conv("groups", (2, 6, 9, 8), (9, 2, 3, 3), (1, 1, 1, 1), group=3, strides=[2, 2])
conv("depthwise", (2, 5, 9, 8), (5, 1, 3, 3), (1, 1, 1, 1), group=5, strides=[2, 2])
conv("depth multiplier", (2, 5, 9, 8), (10, 1, 3, 3), (1, 1, 1, 1), group=5)
conv("asymmetric pads", (2, 3, 9, 10), (4, 3, 3, 3), (0, 1, 2, 0))
conv("asymmetric pads stride 2", (2, 3, 9, 10), (4, 3, 3, 3), (0, 0, 1, 1), strides=[2, 2])
conv("pads only in front", (2, 3, 9, 10), (4, 3, 5, 5), (3, 2, 0, 0), strides=[3, 3])
conv("pads wider than the kernel", (2, 3, 5, 6), (4, 3, 3, 3), (4, 4, 4, 4), strides=[2, 2])
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
)

case("", "GlobalAveragePool", R(2, 3, 5, 4), single=True, torch=lambda x: x.mean((2, 3), keepdim=True))
case("1-D", "GlobalAveragePool", R(2, 3, 5), single=True, torch=lambda x: x.mean(2, keepdim=True))
# Its only kernel is float32: values far apart, so that a large step stays on one side of the kinks.
case("", "GlobalMaxPool", 8 * rng.permutation(8).reshape(2, 1, 2, 2), single=True,
     torch=lambda x: F.adaptive_max_pool2d(x, 1))  # fmt: skip

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
        dtype = np.float32 if case.single else np.float64
        self.opset = 19 if case.op == "AveragePool" and "dilations" in case.attributes else 18
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
        self.y = self.forward(self.inputs)
        self.u = [np.asarray(rng.standard_normal(y.shape), y.dtype) for y in self.y]

    def forward(self, inputs):
        return self.forward_session.run(None, inputs)

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
    step, tolerance = (1.0, 2e-5) if case.single else (1e-6, 1e-7)
    v = {name: np.asarray(rng.standard_normal(x.shape), x.dtype) for name, x in node.inputs.items()}
    ahead = node.forward({n: np.asarray(x + x.dtype.type(step) * v[n]) for n, x in node.inputs.items()})
    behind = node.forward({n: np.asarray(x - x.dtype.type(step) * v[n]) for n, x in node.inputs.items()})
    moved = [(a.astype(np.float64) - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)]
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
    tolerance = 1e-5 if case.single else 1e-6  # attributes are float32
    for mine, theirs in zip(node.y, y, strict=True):
        np.testing.assert_allclose(mine, theirs.detach(), tolerance, tolerance)
    wanted = torch.autograd.grad(y, [arguments[n] for n in found], [torch.from_numpy(u) for u in node.u])
    for mine, theirs in zip(found.values(), wanted, strict=True):
        np.testing.assert_allclose(mine, theirs, tolerance, tolerance)


def test_every_rule_is_tested():
    assert {case.op for case in CASES} == RULES.keys()
    assert not PIECEWISE_CONSTANT & RULES.keys()
    assert SEVERAL_OUTPUTS <= RULES.keys()


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


@pytest.mark.skipif(torch is None, reason="needs torch")
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_ties_of_a_pooling_go_where_torch_sends_them(value):
    case = Case("", "MaxPool", (np.full((2, 3, 9, 9), value),), {"kernel_shape": [3, 3], "strides": [2, 2]})
    node = Node(case)
    x = torch.full((2, 3, 9, 9), value, dtype=torch.float64, requires_grad=True)
    (wanted,) = torch.autograd.grad(F.max_pool2d(x, 3, 2), x, torch.from_numpy(node.u[0]))
    np.testing.assert_allclose(node.gradients()["x0"], wanted, 1e-12, 1e-12)


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


def refusal(op_type, *inputs, outputs=("y",), weights=(), shape=(2, 3, 8, 8), **attributes):
    node = helper.make_node(op_type, ["x", *inputs], list(outputs), name="the_node", **attributes)
    types = {"x": TensorType(1, (None, *shape[1:])), "y": TensorType(1, (None, *shape[1:]))}
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
        ("Pad", {"inputs": ["pads"], "mode": "reflect"}, "reflect"),
        ("Slice", {"inputs": ["one", "one", "one", "minus"]}, "positive steps"),
        ("ReduceMean", {"inputs": ["zero"]}, "batch"),
        ("Pow", {"inputs": ["dynamic"]}, "constant is needed"),
        ("Dropout", {"inputs": ["", "true"]}, "training mode"),
        ("BatchNormalization", {"inputs": ["c", "c", "c", "c"], "training_mode": 1}, "training mode"),
        ("MatMul", {"inputs": ["c"]}, "vector"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_rule_does_not_cover_is_refused(op_type, arguments, words):
    weights = {
        "w": np.ones((3, 3, 1, 1), np.float32),
        "pads": np.ones(8, np.int64),
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
        vjp("Relu")(lambda op, g, y, x: (g,))
