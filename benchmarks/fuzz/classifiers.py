"""Small valid classifiers of many kinds: what the fuzzer damages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, CLASSES = 16, 4


class Net:
    """A graph in the making; methods that add a node or a weight return the name of the tensor."""

    def __init__(self, seed: int, dtype: type = np.float32):
        self.rng, self.dtype = np.random.default_rng(seed), dtype
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def weight(self, *shape: int) -> str:
        """A random weight, scaled as for a convolution."""
        scale = np.sqrt(2 / max(1, int(np.prod(shape[1:]))))
        return self.constant((self.rng.standard_normal(shape) * scale).astype(self.dtype))

    def constant(self, value: Any) -> str:
        """An initializer."""
        self.weights.append(numpy_helper.from_array(np.asarray(value), f"w{len(self.weights)}"))
        return self.weights[-1].name

    def __call__(self, op: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        """Add a node; its first output."""
        name = f"n{len(self.nodes)}"
        names = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, inputs, names, name, domain=domain, **attributes))
        return name

    def conv(self, x: str, inputs: int, outputs: int, k: int = 3, s: int = 1, group: int = 1) -> str:
        """A convolution with bias."""
        shape = (outputs, inputs // group, k, k)
        attributes = {"kernel_shape": [k, k], "strides": [s, s], "pads": [k // 2] * 4, "group": group}
        return self("Conv", x, self.weight(*shape), self.weight(outputs), **attributes)

    def model(self, output: str, shape: Sequence[Any], opset: int = 18, ir: int = 8) -> onnx.ModelProto:
        """The classifier."""
        image = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
        scores = helper.make_tensor_value_info(output, TensorProto.FLOAT, [shape[0], CLASSES])
        graph = helper.make_graph(self.nodes, "small", [image], [scores], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)

    def head(self, x: str, channels: int) -> str:
        """Pooling and the linear layer."""
        flat = self("Flatten", self("GlobalAveragePool", x))
        return self("Gemm", flat, self.weight(CLASSES, channels), self.weight(CLASSES), transB=1)


NCHW = ("N", 3, SIZE, SIZE)


def residual() -> onnx.ModelProto:
    """A residual network with BatchNormalization."""
    net = Net(1)
    norm = [net.constant(np.abs(net.rng.standard_normal(6)).astype(np.float32) + 0.5) for _ in range(4)]
    x = net("Relu", net("BatchNormalization", net.conv("input", 3, 6), *norm))
    x = net("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = net("Relu", net("Add", net.conv(x, 6, 6), x))
    return net.model(net("Softmax", net.head(net("Relu", net.conv(x, 6, 8, s=2)), 8)), NCHW)


def squeezing() -> onnx.ModelProto:
    """Depthwise convolutions and squeeze-and-excitation, with a fixed batch."""
    net = Net(2)
    x = net("HardSwish", net.conv("input", 3, 8, s=2))
    x = net("Clip", net.conv(x, 8, 8, group=8), net.constant(np.float32(0)), net.constant(np.float32(6)))
    gate = net("Relu", net.conv(net("GlobalAveragePool", x), 8, 4, k=1))
    x = net("Mul", x, net("HardSigmoid", net.conv(gate, 4, 8, k=1), alpha=1 / 6, beta=0.5))
    return net.model(net.head(net("Relu", net.conv(x, 8, 8, s=2)), 8), (1, 3, SIZE, SIZE))


def branching() -> onnx.ModelProto:
    """Branches that are concatenated, split, and pooled on average."""
    net = Net(3)
    x = net("Relu", net.conv("input", 3, 6))
    pooled = net("AveragePool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    x = net("Concat", net.conv(x, 6, 4, k=1), net.conv(pooled, 6, 4), axis=1)
    left = net("Split", x, net.constant(np.array([3, 5])), outputs=2, axis=1)
    x = net("Concat", net("Sigmoid", f"{left}_1"), left, axis=1)
    x = net("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    mean = net("ReduceMean", net("Relu", net.conv(x, 8, 8)), net.constant(np.array([2, 3])), keepdims=0)
    return net.model(net("MatMul", mean, net.weight(8, CLASSES)), NCHW)


def channels_last() -> onnx.ModelProto:
    """As Keras has it: channels last, a Transpose, and a Reshape with shape arithmetic."""
    net = Net(4)
    x = net("Relu", net.conv(net("Transpose", "input", perm=[0, 3, 1, 2]), 3, 6, s=2))
    x = net("Relu", net.conv(x, 6, 8, s=2))
    x = net("ReduceMean", net("Transpose", x, perm=[0, 2, 3, 1]), net.constant(np.array([1, 2])), keepdims=0)
    batch = net("Gather", net("Shape", x), net.constant(np.array([0])), axis=0)
    x = net("Reshape", x, net("Concat", batch, net.constant(np.array([8])), axis=0))
    return net.model(net("MatMul", x, net.weight(8, CLASSES)), ("N", SIZE, SIZE, 3))


def half() -> onnx.ModelProto:
    """Weights in half precision behind a Cast."""
    net = Net(5, np.float16)
    x = net("Relu", net.conv(net("Cast", "input", to=TensorProto.FLOAT16), 3, 4))
    x = net.head(net("Relu", net.conv(x, 4, 6, s=2)), 6)
    return net.model(net("Cast", x, to=TensorProto.FLOAT), NCHW)


def old() -> onnx.ModelProto:
    """Opset 9 and file format 3, where every weight is an input as well, with a Constant node and Dropout."""
    net = Net(6)
    x = net("Relu", net.conv("input", 3, 6, s=2))
    x = net("Mul", x, net("Constant", value=numpy_helper.from_array(np.full((1, 6, 1, 1), 0.5, np.float32))))
    x = net("Dropout", net("LeakyRelu", net.conv(x, 6, 8, s=2)), ratio=0.5)
    x = net("ReduceMean", x, axes=[2, 3], keepdims=1)
    x = net("Squeeze", x, axes=[2, 3])
    model = net.model(net("Gemm", x, net.weight(8, CLASSES), net.weight(CLASSES)), NCHW, opset=9, ir=3)
    model.graph.input.extend(helper.make_tensor_value_info(w.name, 1, w.dims) for w in net.weights)
    return model


def shaping() -> onnx.ModelProto:
    """Padding, resizing, slicing and expanding."""
    net = Net(7)
    x = net("Pad", "input", net.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])), mode="reflect")
    x = net("Relu", net.conv(x, 3, 6, s=2))
    x = net("Resize", x, "", net.constant(np.array([1, 1, 2, 2], np.float32)), mode="nearest")
    bounds = [net.constant(np.array(v)) for v in ([1, 1], [-1, -1], [2, 3])]
    x = net("Slice", net("Relu", net.conv(x, 6, 8, s=2)), *bounds)
    scale = net("Expand", net.weight(8, 1, 1), net.constant(np.array([1, 8, 1, 1])))
    return net.model(net.head(net("Mul", x, scale), 8), NCHW)


MODELS: tuple[Callable[[], onnx.ModelProto], ...] = (
    residual,
    squeezing,
    branching,
    channels_last,
    half,
    old,
    shaping,
)
