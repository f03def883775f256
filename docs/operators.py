"""Print docs/operators.md from the gradient table: `python docs/operators.py > docs/operators.md`."""

import inspect
from collections import defaultdict

from onnx import defs
from sise_rt.export.gradients.rules import PIECEWISE_CONSTANT, RULES

OLDEST, NEWEST = 18, 24  # the operator sets whose signatures were compared with the rules
# Inputs of floats that must be constants of the network; other inputs of floats take a gradient.
CONSTANT = {
    "BatchNormalization": {"scale", "B", "input_mean", "input_var"},
    "CastLike": {"target_type"},
    "Clip": {"min", "max"},
    "ConvTranspose": {"W", "B"},
    "CumSum": {"axis"},
    "DequantizeLinear": {"x_scale", "x_zero_point"},
    "Dropout": {"ratio"},
    "GroupNormalization": {"scale", "bias"},
    "InstanceNormalization": {"scale", "B"},
    "LayerNormalization": {"Scale", "B"},
    "Pad": {"constant_value"},
    "QuantizeLinear": {"y_scale", "y_zero_point"},
    "RMSNormalization": {"scale"},
    "Resize": {"roi", "scales"},
}
INTRODUCTION = f"""# Operators with a gradient

Printed by `python docs/operators.py > docs/operators.md`; do not edit.

The rules are in [`export/gradients/rules/`](../export/gradients/rules/), in terms of the operator's inputs,
its output y and the gradient g there. A model is raised to operator set {OLDEST} and keeps a newer one;
"since" lists the versions of each operator's signature in the sets {OLDEST} to {NEWEST}, which the tests
compare with the rules.

Other operators, attributes that a rule does not know, and what the notes exclude are refused by name where
they lie between a block and the class scores; elsewhere they do not matter. An input that takes no gradient
may not depend on the image there, indices, conditions and shapes excepted. Axes, pads, starts, ends, steps,
repeats and scales must be constants once shapes are known.

Rewritten in operators of this page first: FusedConv, FusedGemm, QuantizeLinear and DequantizeLinear of
the domain com.microsoft, ImageScaler, functions of the model, sequences of tensors that shapes decide, and
an If whose branch the picture does not decide.
"""


def schemas() -> dict[str, list[defs.OpSchema]]:
    """The versions of each operator with a rule that are in force in the operator sets covered."""
    history = defaultdict(list)
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.since_version <= NEWEST:
            history[schema.name].append(schema)
    covered = {}
    for name in sorted(RULES, key=str.lower):
        versions = sorted(history[name], key=lambda schema: schema.since_version)
        newer = [schema for schema in versions if schema.since_version > OLDEST]
        covered[name] = [schema for schema in versions if schema.since_version <= OLDEST][-1:] + newer
    return covered


def differentiable(schema: defs.OpSchema) -> list[str]:
    """The names of an operator's inputs that take a gradient."""
    kinds = {
        constraint.type_param_str: constraint.allowed_type_strs for constraint in schema.type_constraints
    }
    return [
        entry.name
        for entry in schema.inputs
        if "tensor(float)" in kinds.get(entry.type_str, [entry.type_str])
        and entry.name not in CONSTANT.get(schema.name, ())
    ] or [schema.inputs[0].name]  # a quantised tensor


def main() -> None:
    """Print the page."""
    print(INTRODUCTION)
    print("| operator | since | takes a gradient | gradient | notes |")
    print("|---|---|---|---|---|")
    for name, versions in schemas().items():
        gradient, _, notes = inspect.getdoc(RULES[name]).partition("\n\n")
        cells = (
            name,
            ", ".join(str(schema.since_version) for schema in versions),
            ", ".join(f"`{entry}`" for entry in differentiable(versions[-1])),
            gradient.replace("\n", " ").replace("|", "\\|"),
            notes.replace("\n", " ").replace("|", "\\|"),
        )
        print("| " + " | ".join(cells) + " |")
    print()
    print("Nothing flows back through these, whose outputs are constant almost everywhere:")
    print(", ".join(sorted(PIECEWISE_CONSTANT)) + ".")


if __name__ == "__main__":
    main()
