"""What a request asks for: its options, parsed and held against their ranges in one place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sise_rt.drawing.palettes import INFERNO, PALETTES
from sise_rt.errors import SiseError
from sise_rt.methods import PRESETS, Request, parse, with_preset
from sise_rt.preprocessing import DEPTHS
from sise_rt.targets import resolve_target

from .models import Model
from .refusals import Refused, refusal_of
from .settings import Settings

CHECKS = ("none", "region", "all")
LONGEST = 86_400.0  # seconds
LONGEST_NAME = 200  # characters of a picture's
OWN = ("target", "method", "preset", "max_seconds", "check", "bit_depth", "palette", "name")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An explanation as a client wants it.

    Attributes:
        request: the method and its settings.
        target: class index; None for the class with the highest confidence.
        max_seconds: from the request's arrival to the last pass; infinite for any time.
        check: what the model is asked about the map: of `CHECKS`.
        bit_depth: of the picture, None where the file says it.
        palette: of what is drawn.
        name: of the picture, for its record.
    """

    request: Request
    target: int | None
    max_seconds: float
    check: str
    bit_depth: int | None
    palette: str
    name: str


def single(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Fields as a mapping.

    Raises:
        Refused: one is given twice.
    """
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise Refused(400, f"{name} is given twice", name)
        fields[name] = value
    return fields


def parse_asked(fields: Mapping[str, Any], model: Model, settings: Settings, *, check: str = "none") -> Asked:
    """What fields of a query, a form or a JSON object ask for.

    Args:
        fields: by name; text, or values as JSON has them.
        model: that they are for.
        settings: of the server.
        check: what the model is asked about the map where no field says it.

    Raises:
        Refused: there is no such field, or a value is out of its range; the field is named.
    """
    manifest = model.explainer.manifest
    target = fields.get("target")
    if target is not None and target != "":
        try:
            target = resolve_target(target, manifest)
        except SiseError as error:
            raise refusal_of(error, "target") from error
    seconds = _number(fields, "max_seconds", LONGEST)
    if settings.max_seconds:
        seconds = min(seconds, settings.max_seconds)
    name = fields.get("name", "picture")
    if not isinstance(name, str):
        raise Refused(400, "a name is a text", "name")
    return Asked(
        request=_request(fields, model, settings),
        target=None if target == "" else target,
        max_seconds=seconds,
        check=_check(fields.get("check", check), manifest.activation),
        bit_depth=_bit_depth(fields),
        palette=_choice(fields, "palette", tuple(PALETTES), INFERNO),
        name=_base(name),
    )


def _request(fields: Mapping[str, Any], model: Model, settings: Settings) -> Request:
    """The method with its options, and the server's preset where the client says nothing of that."""
    try:
        asked = parse(fields.get("method", "sise"))
    except SiseError as error:
        raise refusal_of(error, "method") from error
    given = {name: value for name, value in fields.items() if name not in OWN}
    for name, value in given.items():
        try:
            option = asked.method.option(name)
            asked = asked.having(name, option.parsed(value) if isinstance(value, str) else value)
        except SiseError as error:
            raise refusal_of(error, name) from error
    preset = fields.get("preset")
    if preset is None and asked.method.has("budget") and "budget" not in asked.given:
        preset = settings.preset
    try:
        if preset is not None and not isinstance(preset, str):
            raise Refused(400, f"a preset is one of {', '.join(PRESETS)}", "preset")
        (asked,) = with_preset([asked], preset, ())
        asked.check(model.explainer.manifest)
    except SiseError as error:
        raise _of_method(error) from error
    if asked.method not in model.methods():
        text = f"{model.name} was exported by an older sise-rt and has not what {asked} needs"
        raise Refused(400, text, "method")
    return asked


def _of_method(error: SiseError) -> Refused:
    """A method that the bundle cannot do is the client's choice, and no fault of the server."""
    refused = refusal_of(error, "method")
    return refused if refused.status == 400 else Refused(400, error.message, "method")


def _number(fields: Mapping[str, Any], name: str, most: float) -> float:
    """A positive number, infinite where none is given."""
    value = fields.get(name)
    if value is None or value == "":
        return math.inf
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number <= most:
        raise Refused(400, f"{name} is {value!r}, where 0 < {name} <= {most:g} is needed", name)
    return number


def _bit_depth(fields: Mapping[str, Any]) -> int | None:
    value = fields.get("bit_depth")
    if value is None or value == "":
        return None
    if str(value) not in map(str, DEPTHS) or isinstance(value, bool):
        text = f"bit_depth is {value!r}, where {DEPTHS[0]} to {DEPTHS[-1]} is needed"
        raise Refused(400, text, "bit_depth")
    return int(value)


def _check(value: Any, activation: str) -> str:
    """What is checked; `1` and true stand for all, `0` and false for nothing."""
    if isinstance(value, bool) or value in ("0", "1", 0, 1):
        value = CHECKS[-1] if value in (True, "1", 1) else CHECKS[0]
    if value not in CHECKS:
        raise Refused(400, f"check is {value!r}; known are 0, 1, {', '.join(CHECKS)}", "check")
    if activation == "none" and value == "all":
        raise Refused(400, "the model explains its output as it is: a check needs probabilities", "check")
    return CHECKS[0] if activation == "none" else value


def _choice(fields: Mapping[str, Any], name: str, choices: tuple[str, ...], default: str) -> str:
    value = fields.get(name, default)
    if value not in choices:
        raise Refused(400, f"{name} is {value!r}; known are {', '.join(choices)}", name)
    return value


def _base(name: str) -> str:
    """A picture's name without folders and without what a terminal would act upon."""
    base = "".join(c for c in name.replace("\\", "/").rsplit("/", 1)[-1] if c.isprintable())
    return base[:LONGEST_NAME] or "picture"
