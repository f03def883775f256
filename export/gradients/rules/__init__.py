"""The gradient rule of each operator, by families of operators; `table` says what a rule is."""

from . import (  # noqa: F401  importing a family puts its rules into the table
    activations,
    arithmetic,
    normalisations,
    pools,
    products,
    quantised,
    reductions,
    resizing,
    sampling,
    scatters,
    structure,
    windows,
)
from .table import PIECEWISE_CONSTANT, RULES, SEVERAL_OUTPUTS

__all__ = ["PIECEWISE_CONSTANT", "RULES", "SEVERAL_OUTPUTS"]
