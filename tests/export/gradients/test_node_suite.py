"""Every float input of every single-operator case of ONNX's own node suite, against central differences."""

import re
import warnings
from collections import Counter, defaultdict

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from sise_rt.export.gradients.reverse import vjp
from sise_rt.export.gradients.rules import PIECEWISE_CONSTANT, RULES, SEVERAL_OUTPUTS

from sise_rt.errors import ModelError

pytest.importorskip("onnx", minversion="1.20", reason="the suite of an older onnx gives other types")
suite = pytest.importorskip("onnx.backend.test.case.node", reason="this onnx has no node suite")
from onnx.reference import ReferenceEvaluator  # noqa: E402

FLOAT_TYPES = {TensorProto.FLOAT: 1e-3, TensorProto.DOUBLE: 1e-5, TensorProto.FLOAT16: 3e-2}  # tolerances
# Operators of the suite that take floats and have no gradient rule.
WITHOUT_RULE = set(
    "Adagrad Adam Attention Bernoulli BitCast CausalConvWithState Col2Im Compress CumProd DFT "
    "Det DynamicQuantizeLinear FlexAttention GRU If LSTM LinearAttention Loop "
    "MatMulInteger MelWeightMatrix Mod Momentum NegativeLogLikelihoodLoss NonMaxSuppression OneHot "
    "OptionalGetElement OptionalHasElement QLinearConv QLinearMatMul RNN ReverseSequence RoiAlign "
    "RotaryEmbedding STFT Scan Scatter SoftmaxCrossEntropyLoss SwiGLU TensorScatter Unique Upsample".split()
)
# What the rules refuse in the suite, by operator and the place of its input: a word of the error.
REFUSED = {
    **{("BatchNormalization", i): "training mode|no gradient for its input" for i in range(5)},
    ("Clip", 1): "no gradient for its input",
    ("Clip", 2): "no gradient for its input",
    ("ConvTranspose", 1): "no gradient for its input",
    ("ConvTranspose", 2): "no gradient for its input",
    ("DequantizeLinear", 1): "no gradient for its input|blocks",
    ("Dropout", 0): "training mode",
    ("Dropout", 1): "no gradient for its input|training mode",
    ("Einsum", 0): "repeated label",
    ("GridSample", 0): "cubic",
    ("GridSample", 1): "cubic",
    **{(f"{kind}Normalization", i): "no gradient for its input"
       for kind in ("Group", "Instance", "Layer", "RMS") for i in (1, 2)},
    ("MaxUnpool", 0): "the output's own size",
    ("Pad", 2): "no gradient for its input",
    ("Resize", 0): "tf_crop_and_resize",
    ("Resize", 1): "tf_crop_and_resize",
    ("Resize", 2): "constant is needed",
}  # fmt: skip


def as_array(value):
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else np.asarray(value)


def single(case):
    """A case's node with its input arrays by name; None where it is no plain operator on tensors."""
    graph = case.model.graph
    if len(graph.node) != 1 or graph.node[0].domain not in ("", "ai.onnx") or not case.data_sets:
        return None
    if any(not v.type.HasField("tensor_type") for v in [*graph.input, *graph.output]):
        return None
    given = [as_array(x) for x in case.data_sets[0][0]]
    if any(x.dtype.kind not in "fiub" for x in given):
        return None
    return graph.node[0], dict(zip([v.name for v in graph.input], given, strict=True))


def with_weights(model, arrays, moving):
    """The model with all inputs but one as weights."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    result.ir_version = max(model.ir_version, 8)
    kept = [v for v in result.graph.input if v.name == moving]
    del result.graph.input[:]
    result.graph.input.extend(kept)
    result.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in arrays.items() if name != moving
    )
    return result


def doubled(model):
    """The model in float64."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for v in [*result.graph.input, *result.graph.output]:
        if v.type.tensor_type.elem_type in FLOAT_TYPES:
            v.type.tensor_type.elem_type = TensorProto.DOUBLE
    weights = [numpy_helper.to_array(w) for w in result.graph.initializer]
    names = [w.name for w in result.graph.initializer]
    del result.graph.initializer[:]
    result.graph.initializer.extend(
        numpy_helper.from_array(w.astype(np.float64) if w.dtype.kind == "f" else w, name)
        for w, name in zip(weights, names, strict=True)
    )
    for a in result.graph.node[0].attribute:
        if a.name == "to" and a.i in FLOAT_TYPES:
            a.i = TensorProto.DOUBLE
    return result


def opened(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def wide_forward(model, name, output):
    """The forward pass in float64: by ONNX Runtime, or where it has no such kernel by ONNX's reference."""
    model = doubled(model)
    for run in (opened, ReferenceEvaluator):
        try:
            session = run(model)
        except Exception:  # each has errors of its own
            continue
        return lambda x: np.asarray(session.run([output], {name: x})[0])
    return None


def slopes(f, x, u, v):
    """What sum(u * f) does along v: differences of two sizes, central and to one side; and how far f moves.

    None where f is not finite, or computes in less than float64.
    """
    y, values = f(x), []
    finest = f(x + 1e-9 * v)
    if y.dtype != np.float64 or not np.isfinite(y).all():
        return None
    for step in (1e-5, 2.5e-6):
        ahead, behind = f(x + step * v), f(x - step * v)
        if (finest == y).all() and (ahead != y).any():
            return None
        values += [np.vdot(u, d) / step for d in ((ahead - behind) / 2, ahead - y, y - behind)]
    return np.array(values), np.linalg.norm(u) * np.linalg.norm(ahead - behind) / (2 * step)


def judged(model, name, x, output, rng):
    """`right`, `wrong`, or why there is nothing to compare."""
    tolerance = FLOAT_TYPES[model.graph.input[0].type.tensor_type.elem_type]
    with_gradient = vjp(model, output, [name])
    cotangent, gradient = with_gradient.graph.input[-1].name, with_gradient.graph.output[-1].name
    try:
        backward = opened(with_gradient)
    except Exception as error:
        try:
            opened(model)
        except Exception:
            return "ONNX Runtime has no kernel for it on the CPU"
        return f"wrong: the reverse pass cannot run: {str(error)[:300]}"
    f = wide_forward(model, name, output)
    for attempt in range(4 if f else 0):  # where the suite's own numbers lie on a kink, others beside them
        shift = 0.02 * rng.uniform(-1, 1, x.shape) * np.maximum(1, abs(x)) if attempt else 0.0
        at = np.asarray(x + shift, x.dtype)
        v = np.asarray(rng.standard_normal(x.shape))
        try:
            u = np.asarray(rng.standard_normal(f(at.astype(np.float64)).shape), x.dtype)
            measured = slopes(f, at.astype(np.float64), u.astype(np.float64), v)
        except Exception:
            return "nothing computes it in float64"
        if measured is None or not np.ptp(measured[0]) <= 1e-4 * max(measured[1], 1e-6):
            continue
        given, y = backward.run([gradient, output], {name: at, cotangent: u})
        if not np.allclose(y, f(at.astype(np.float64)), tolerance, tolerance):
            continue  # ONNX's reference and ONNX Runtime differ here
        wanted, scale = measured[0][0], max(measured[1], 1e-3 * np.linalg.norm(u))
        found = np.vdot(given.astype(np.float64), v)
        if given.shape == x.shape and abs(found - wanted) <= tolerance * scale:
            return "right"
        return f"wrong: {found} where differences give {wanted}"
    return "no derivative there, or none in float64"


def test_every_case_of_onnxs_node_suite():
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = suite.collect_testcases(None)
    right, wrong, unexpected, aside = Counter(), [], [], defaultdict(Counter)
    without = Counter()
    for case in cases:
        if (plain := single(case)) is None:
            continue
        node, arrays = plain
        outputs = [v.name for v in case.model.graph.output if v.type.tensor_type.elem_type in FLOAT_TYPES]
        moving = [v.name for v in case.model.graph.input if v.type.tensor_type.elem_type in FLOAT_TYPES]
        moving = [name for name in moving if arrays[name].size]
        if not outputs or not moving or node.op_type in PIECEWISE_CONSTANT:
            continue
        if node.op_type not in RULES:
            without[node.op_type] += 1
            continue
        verdicts = set()
        for name in moving:
            model = with_weights(case.model, arrays, name)
            for output in outputs if node.op_type in SEVERAL_OUTPUTS else outputs[:1]:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        verdict = judged(model, name, arrays[name], output, rng)
                    except ModelError as error:
                        place = (node.op_type, min(list(node.input).index(name), 4))
                        verdict = "refused: " + REFUSED.get(place, "")
                        if place not in REFUSED or not re.search(REFUSED[place], error.message):
                            unexpected.append(f"{case.name}, {name}: {error.message}")
                verdicts.add(verdict)
                if verdict.startswith("wrong"):
                    wrong.append(f"{case.name}, {name} of {output}: {verdict}")
                elif verdict != "right":
                    aside[node.op_type][verdict] += 1
        right[node.op_type] += "right" in verdicts
    print(f"{right.total()} cases of {len(+right)} operators right, {len(wrong)} wrong")
    print(f"{without.total()} cases of {len(without)} operators have no rule: {', '.join(sorted(without))}")
    for op_type, reasons in sorted(aside.items()):
        for reason, count in reasons.items():
            print(f"{op_type}: {count} {reason}")
    assert not wrong, "\n".join(wrong)
    assert not unexpected, "\n".join(unexpected)
    assert not without.keys() - WITHOUT_RULE
    assert not WITHOUT_RULE & RULES.keys()
    assert right.total() > 300  # of the oldest onnx that is admitted; newer ones have more cases
