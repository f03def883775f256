"""The methods: each takes a `Query` and its own options, and gives a `Finding` or `NoEvidence` a target."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from sise_rt.errors import MethodError

from .ada_sise import ada_sise
from .extremal_perturbation import extremal_perturbation
from .grad_cam import grad_cam
from .grad_cam_plus_plus import grad_cam_plus_plus
from .integrated_grad_cam import integrated_grad_cam
from .integrated_gradients import integrated_gradients
from .query import BlockEvidence, Clock, Finding, Found, Progress, Query
from .rise import rise
from .score_cam import score_cam
from .sise import sise

__all__ = [
    "METHODS",
    "USE_FEATURES",
    "BlockEvidence",
    "Clock",
    "Finding",
    "Found",
    "Progress",
    "Query",
    "parse_method",
    "settings_of",
]

METHODS: dict[str, Callable[..., list[Found]]] = {
    "sise": sise,
    "ada-sise": ada_sise,
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "integrated-grad-cam": integrated_grad_cam,
    "score-cam": score_cam,
    "rise": rise,
    "integrated-gradients": integrated_gradients,
    "extremal-perturbation": extremal_perturbation,
}
USE_FEATURES = frozenset({"sise", "ada-sise", "score-cam"})  # the others need no phase 1


def settings_of(name: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """Every option of a method, with its default where none is given.

    Raises:
        MethodError: there is no such method or option.
    """
    if name not in METHODS:
        raise MethodError(f"no method {name!r}; known are {', '.join(METHODS)}")
    parameters = list(inspect.signature(METHODS[name]).parameters.values())[1:]
    options = {parameter.name: parameter.default for parameter in parameters}
    given = given or {}
    if unknown := given.keys() - options.keys():
        known = ", ".join(options) or "none"
        raise MethodError(f"{name} has no option {min(unknown)!r}; its options: {known}")
    return options | given


def parse_method(text: str) -> tuple[str, dict[str, Any]]:
    """A method and the options that a text gives it, as in `sise:mu=0.3:fusion=otsu-soft`.

    An option of several numbers has a plus between them, as in `extremal-perturbation:areas=0.05+0.1`.

    Raises:
        MethodError: there is no such method or option, an option is given twice, or a value is not of the
            option's type.
    """
    name, *pairs = text.split(":")
    defaults, given = settings_of(name), {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise MethodError(f"{text!r}: an option is written name=value, not {pair!r}")
        settings_of(name, {key: None})
        if key in given:
            raise MethodError(f"{text!r}: {key} is given twice")
        several = isinstance(defaults[key], tuple)
        kind = type(defaults[key][0] if several else defaults[key])
        try:
            given[key] = tuple(map(kind, value.split("+"))) if several else kind(value)
        except ValueError as error:
            raise MethodError(f"{text!r}: {key} is {value!r}, where {kind.__name__} is needed") from error
    return name, given
