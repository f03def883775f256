"""The methods: each takes a `Query` and its own options, and gives a `Finding` or `NoEvidence` a target."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from sise_rt.errors import MethodError
from sise_rt.phases.fusion import REGIONS

from .ada_sise import THRESHOLDS, ada_sise
from .extremal_perturbation import extremal_perturbation
from .grad_cam import grad_cam
from .grad_cam_plus_plus import grad_cam_plus_plus
from .integrated_grad_cam import VARIANTS, integrated_grad_cam
from .integrated_gradients import integrated_gradients
from .query import BlockEvidence, Clock, Finding, Found, Preview, Progress, Query, Stop
from .rise import rise
from .score_cam import score_cam
from .sise import sise

__all__ = [
    "CHOICES",
    "GRAPHS",
    "METHODS",
    "USE_FEATURES",
    "WITH_BLOCKS",
    "BlockEvidence",
    "Clock",
    "Finding",
    "Found",
    "Preview",
    "Progress",
    "Query",
    "Stop",
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
WITH_BLOCKS = frozenset({"sise", "ada-sise"})  # they fuse a map of every block
CHOICES = {"fusion": tuple(REGIONS), "threshold": tuple(THRESHOLDS), "variant": VARIANTS}
GRAPHS: dict[str, str] = {  # what the others run
    "grad-cam": "last_block_gradient",
    "grad-cam++": "last_block_gradient",
    "integrated-grad-cam": "last_block_gradient",
    "rise": "forward",
    "integrated-gradients": "image_gradient",
    "extremal-perturbation": "image_gradient",
}


def settings_of(name: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """Every option of a method, with its default where none is given, in the type of the default.

    Raises:
        MethodError: there is no such method or option, or a value is not of the option's type.
    """
    if name not in METHODS:
        raise MethodError(f"no method {name!r}; known are {', '.join(METHODS)}")
    parameters = list(inspect.signature(METHODS[name]).parameters.values())[1:]
    options = {parameter.name: parameter.default for parameter in parameters}
    given = given or {}
    if unknown := given.keys() - options.keys():
        known = ", ".join(options) or "none"
        raise MethodError(f"{name} has no option {min(unknown)!r}; its options: {known}")
    return options | {key: _typed(name, key, value, options[key]) for key, value in given.items()}


def _typed(method: str, key: str, value: Any, default: Any) -> Any:
    """A value as the option's own type, which JSON knows too; nothing is rounded or parsed."""
    kinds = {int: operator.index, float: _real, str: _text}
    try:
        if isinstance(default, tuple):
            several = [value] if np.ndim(value) == 0 else list(value)
            return tuple(kinds[type(default[0])](item) for item in several)
        return kinds[type(default)](value)
    except OverflowError as error:  # the message leaves its hundreds of digits out
        raise MethodError(f"{method}: {key} is too large a number") from error
    except (TypeError, ValueError) as error:
        kind = type(default[0] if isinstance(default, tuple) else default).__name__
        raise MethodError(f"{method}: {key} is {value!r}, where {kind} is needed") from error


def _real(value: Any) -> float:
    if isinstance(value, (str, bytes)):
        raise TypeError
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


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
        settings_of(name, {key: defaults.get(key)})
        if key in given:
            raise MethodError(f"{text!r}: {key} is given twice")
        several = isinstance(defaults[key], tuple)
        kind = type(defaults[key][0] if several else defaults[key])
        try:
            given[key] = tuple(map(kind, value.split("+"))) if several else kind(value)
        except ValueError as error:
            raise MethodError(f"{text!r}: {key} is {value!r}, where {kind.__name__} is needed") from error
    return name, given
