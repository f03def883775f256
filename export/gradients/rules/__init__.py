"""The gradient rule of each operator."""

from .windows import PIECEWISE_CONSTANT, RULES, SEVERAL_OUTPUTS

__all__ = ["PIECEWISE_CONSTANT", "RULES", "SEVERAL_OUTPUTS"]
