"""Wrong gradient rules that are planted: how many does an export refuse?

    python -m benchmarks.mutations
    python -m benchmarks.mutations --only attention --log /tmp/planted.jsonl

Small classifiers are exported with one operator's rule made wrong (a sign, a factor, a shift, a sum that is
missing), one export a mistake. A mistake that moves neither gradient scores nor the image's gradient by a
thousandth is no error and is not counted. One that moves the scores has to be refused; one that moves the
image's gradient alone may also cost the bundle that graph, which SISE does not need.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from sise_rt.export import export
from sise_rt.export.gradients.rules import RULES

from benchmarks.fuzz.classifiers import CLASSES, MODELS, NCHW, Net
from sise_rt.bundle import PROBE
from sise_rt.errors import ParityError

LEAST = 1e-3  # of the largest value: what a mistake moves less is none
REFUSED, LEFT_OUT, MISSED = "refused", "without the image's gradient", "MISSED"


def attention() -> onnx.ModelProto:
    """A convolution's map as tokens: layer normalisation, attention, and a gated sum."""
    net = Net(11)
    x = net("Relu", net.conv("input", 3, 6, s=2))
    tokens = net("Transpose", net("Reshape", x, net.constant(np.array([0, 6, 64]))), perm=[0, 2, 1])
    scale = net.constant(np.linspace(0.5, 1.5, 6, dtype=np.float32))
    tokens = net("LayerNormalization", tokens, scale, net.constant(np.zeros(6, np.float32)))
    query, key, value = (net("MatMul", tokens, net.weight(6, 6)) for _ in range(3))
    weights = net("Softmax", net("MatMul", query, net("Transpose", key, perm=[0, 2, 1])), axis=-1)
    x = net("Transpose", net("Add", tokens, net("MatMul", weights, value)), perm=[0, 2, 1])
    x = net("Reshape", x, net.constant(np.array([0, 6, 8, 8])))
    x = net("Mul", x, net("Sigmoid", net.conv(x, 6, 6, k=1)))
    return net.model(net.head(net("Relu", net.conv(x, 6, 8, s=2)), 8), NCHW)


def powers() -> onnx.ModelProto:
    """Root mean square normalisation, generalised-mean pooling, and an L2-normalised head."""
    net = Net(12)
    x = net("Relu", net.conv("input", 3, 6, s=2))
    square = net("ReduceMean", net("Mul", x, x), net.constant(np.array([1])))
    x = net("Div", x, net("Sqrt", net("Add", square, net.constant(np.float32(1e-5)))))
    x = net("Relu", net.conv(x, 6, 8, s=2))
    x = net("Pow", net("Clip", x, net.constant(np.float32(1e-6))), net.constant(np.float32(3)))
    x = net("Pow", net("GlobalAveragePool", x), net.constant(np.float32(1 / 3)))
    x = net("Flatten", x)
    x = net("Div", x, net("ReduceL2", x, net.constant(np.array([1]))))
    return net.model(net("Gemm", x, net.weight(8, CLASSES), alpha=3.0), NCHW)


def curves() -> onnx.ModelProto:
    """Activations, an instance normalisation, a transposed convolution, subtraction and maxima."""
    net = Net(13)
    x = net("Elu", net.conv("input", 3, 6, s=2))
    x = net("Tanh", net.conv(x, 6, 6))
    x = net("Add", x, net("Mul", x, net("Erf", x)))
    ones, zeros = (net.constant(np.full(6, v, np.float32)) for v in (1.2, 0.1))
    x = net("InstanceNormalization", net("Softplus", net.conv(x, 6, 6, s=2)), ones, zeros)
    x = net("ConvTranspose", x, net.weight(6, 4, 2, 2), strides=[2, 2])
    x = net("Sub", x, net("Max", net.conv(x, 4, 4), net("Neg", x)))
    x = net("PRelu", x, net.constant(np.linspace(0.1, 0.4, 4, dtype=np.float32).reshape(4, 1, 1)))
    x = net("Exp", net("Mul", net.conv(x, 4, 8, s=2), net.constant(np.float32(0.2))))
    return net.model(net.head(net("Log", net("Add", x, net.constant(np.float32(1)))), 8), NCHW)


FAMILIES = (*MODELS, attention, powers, curves)

Change = Callable[[Any, str], str]


def _rolled(op: Any, g: str, axis: int) -> str:
    """A gradient that is moved by one place, around the end."""
    axes, zero, one = op.constant([axis]), op.constant([0]), op.constant([1])
    rest, first = op.Slice(g, one, op.constant([2**31]), axes), op.Slice(g, zero, one, axes)
    return op.Concat(rest, first, axis=axis)


CHANGES: dict[str, Change] = {
    "sign": lambda op, g: op.Neg(g),
    "a tenth more": lambda op, g: op.Mul(g, op.constant(1.1)),
    "double": lambda op, g: op.Add(g, g),
    "zero": lambda op, g: op.Mul(g, op.constant(0.0)),
    "shifted": lambda op, g: _rolled(op, g, -1),
    "other channels": lambda op, g: _rolled(op, g, 1),
    "mean of a row": lambda op, g: op.Add(
        op.Mul(g, op.constant(0.0)), op.ReduceMean(g, op.constant([-1]), keepdims=1)
    ),
    "squared": lambda op, g: op.Mul(g, g),
}


def planted(rule: Callable[..., Any], change: Change) -> Callable[..., Any]:
    """A rule with a mistake in the first gradient that it gives."""

    @wraps(rule)
    def wrong(op: Any, *arguments: Any, **attributes: Any) -> list[str | None]:
        gradients = list(rule(op, *arguments, **attributes))
        place = next((i for i, g in enumerate(gradients) if g is not None), None)
        if place is not None:
            gradients[place] = change(op, gradients[place])
        return gradients

    wrong.__signature__ = inspect.signature(rule)  # type: ignore[attr-defined]
    return wrong


def _numbers(bundle: Path) -> dict[str, np.ndarray]:
    """Gradient scores, and the image's gradient, of the probe picture; the bundle's own."""
    with np.load(bundle / PROBE) as stored:
        return {name: stored[name] for name in stored.files if name.startswith(("alpha", "image_gradient"))}


def _moved(numbers: dict[str, np.ndarray], right: dict[str, np.ndarray], name: str) -> bool:
    """Whether numbers of a kind are others than the right ones."""
    return any(
        not np.abs(numbers[key] - right[key]).max() <= LEAST * np.abs(right[key]).max()
        for key in numbers
        if key.startswith(name)
    )


def plant(family: Callable[[], onnx.ModelProto], folder: Path) -> Iterator[dict[str, str]]:
    """What came of each mistake in each operator of a model; of those that are none, nothing."""
    model = family()
    path = folder / "model.onnx"
    onnx.save(model, path)
    right = _numbers(export(path, folder / "right.sise", overwrite=True).path)
    for kind in sorted({node.op_type for node in model.graph.node} & RULES.keys()):
        rule = RULES[kind]
        for name, change in CHANGES.items():
            RULES[kind] = planted(rule, change)
            try:
                bundle = export(path, folder / "wrong.sise", overwrite=True).path
            except ParityError as error:
                outcome, reason = REFUSED, str(error)
            except Exception as error:  # a mistake that gives no valid graph
                outcome, reason = "", str(error)
            else:
                numbers = _numbers(bundle)
                reason = ""
                if _moved(numbers, right, ""):
                    outcome = MISSED
                else:
                    outcome = "" if numbers.keys() == right.keys() else LEFT_OUT
            finally:
                RULES[kind] = rule
            if outcome:
                yield {"model": family.__name__, "operator": kind, "mistake": name, "outcome": outcome} | {
                    "reason": reason
                }


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant, print, and tell by the exit status whether a mistake was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", help="models by name")
    parser.add_argument("--log", type=Path, help="append a JSON line a mistake")
    options = parser.parse_args(arguments)
    total: Counter[str] = Counter()
    for family in FAMILIES:
        if options.only and family.__name__ not in options.only:
            continue
        counts: Counter[str] = Counter()
        with tempfile.TemporaryDirectory(prefix="sise-rt-planted-") as folder:
            for result in plant(family, Path(folder)):
                counts[result["outcome"]] += 1
                if options.log:
                    with options.log.open("a") as file:
                        print(json.dumps(result), file=file)
                if result["outcome"] == MISSED:
                    print("MISSED {model}: {operator}, {mistake}".format(**result))
        print(f"{family.__name__:16}", ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
        total += counts
    print(f"{'in all':16}", ", ".join(f"{count} {name}" for name, count in sorted(total.items())))
    return int(total[MISSED] > 0)


if __name__ == "__main__":
    sys.exit(main())
