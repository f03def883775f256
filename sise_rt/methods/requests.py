"""What is asked for: a method with all its settings, as a value."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sise_rt.bundle import Manifest
from sise_rt.errors import BundleError, MethodError

from .method import Method, Value
from .table import METHODS

PRESETS: Mapping[str, Mapping[str, Value]] = {"exact": {}, "fast": {"budget": 0.1}}
"""Settings that have a name."""


@dataclass(frozen=True)
class Request:
    """A method and its settings. Requests are equal if they ask for the same.

    Attributes:
        method: one of `METHODS`.
        settings: a value for every option.
        label: what it is called where several are put side by side, as `sise:mu=0.3`.
        given: names of the options that were set, and not left to their defaults.
    """

    method: Method
    settings: Mapping[str, Value]
    label: str = field(compare=False)
    given: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        """Its label."""
        return self.label

    @property
    def needs_gradients(self) -> bool:
        """Whether it needs gradient scores, or a graph that has gradients in it."""
        return self.method.gradients or bool(self._selecting())

    def _selecting(self) -> list[str]:
        """The options that select maps by their gradient scores."""
        return [o.name for o in self.method.options if o.selects and self.settings[o.name] != o.default]

    def check(self, manifest: Manifest) -> None:
        """Find out whether a bundle has the gradients that it may need.

        Raises:
            BundleError: it has not.
        """
        if self.needs_gradients and not manifest.has_gradients:
            without = ", ".join(name for name, method in METHODS.items() if not method.gradients)
            selecting = " and ".join(self._selecting())
            remedy = f"leave {selecting} out" if selecting else f"take one that does without ({without})"
            raise BundleError(
                f"{manifest.name} was exported without gradients, which {self} needs: {remedy}, or export it "
                "again with gradients"
            )

    def having(self, name: str, value: Any) -> Request:
        """The same request with one more option set.

        Raises:
            MethodError: the method has no such option, or not with that value.
        """
        given = {key: self.settings[key] for key in self.given} | {name: value}
        several = isinstance(value, (tuple, list))
        label = f"{self.label}:{name}={'+'.join(map(str, value)) if several else value}"
        return Request(self.method, self.method.settings(given), label, tuple(given))


def request(method: str | Request = "sise", preset: str | None = None, **options: Any) -> Request:
    """A request for a method; options that are None are left as they are.

    Args:
        method: a name, also with options as in `sise:mu=0.3`, or a request.
        preset: one of `PRESETS`.
        options: of the method; they go before those of `method`.

    Raises:
        MethodError: there is no such method, preset or option, a value is of another type or out of its
            range, or something else sets what the preset sets.
    """
    asked = method if isinstance(method, Request) else parse(method)
    given = {name: value for name, value in options.items() if value is not None}
    (asked,) = with_preset([asked], preset, given)
    for name, value in given.items():
        asked = asked.having(name, value)
    return asked


def with_preset(requests: Sequence[Request], preset: str | None, given: Collection[str]) -> list[Request]:
    """Requests with what a preset sets, for those whose methods have it.

    Args:
        requests: at least one.
        preset: one of `PRESETS`; None sets nothing.
        given: names of options that are set for all of them besides.

    Raises:
        MethodError: there is no such preset, none of the methods has what it sets, or that is set already.
    """
    if preset is None:
        return list(requests)
    if preset not in PRESETS:
        raise MethodError(f"no preset {preset!r}; known are {', '.join(PRESETS)}", settings=("preset",))
    # What one preset sets, another leaves at its default on purpose.
    for name in dict.fromkeys(name for each in PRESETS.values() for name in each):
        takes = [asked.method.has(name) for asked in requests]
        if not any(takes):
            names = ", ".join(map(str, requests))
            raise MethodError(
                f"preset {preset!r} says nothing to {names}: it sets {name}", settings=("preset",)
            )
        if name in given or any(name in asked.given for asked in requests):
            raise MethodError(
                f"preset {preset!r} sets {name} as well: give one of them", settings=("preset", name)
            )
        if name in PRESETS[preset]:
            value = PRESETS[preset][name]
            requests = [
                asked.having(name, value) if take else asked
                for asked, take in zip(requests, takes, strict=True)
            ]
    return list(requests)


def parse(text: str) -> Request:
    """The request that a text stands for, as `sise:mu=0.3:fusion=otsu-soft`.

    An option of several numbers has a plus between them, as in `extremal-perturbation:areas=0.05+0.1`.

    Raises:
        MethodError: there is no such method or option, an option is given twice, or a value is of another
            type or out of its range.
    """
    if not isinstance(text, str):
        raise MethodError(f"a method is a name or a Request, not {text!r}")
    name, *pairs = text.split(":")
    if name not in METHODS:
        raise MethodError(f"no method {name!r}; known are {', '.join(METHODS)}")
    method, given = METHODS[name], dict[str, Value]()
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise MethodError(f"{text!r}: an option is written name=value, not {pair!r}")
        option = method.option(key)
        if key in given:
            raise MethodError(f"{text!r}: {key} is given twice")
        try:
            given[key] = option.parsed(value)
        except MethodError as error:
            raise MethodError(f"{text!r}: {error.message}", settings=error.settings) from error
    return Request(method, method.settings(given), text, tuple(given))


def parse_all(methods: Sequence[str | Request]) -> list[Request]:
    """Several requests, with labels that differ.

    Raises:
        MethodError: as `parse`, or there is none, or two have one label.
    """
    if isinstance(methods, (str, Request)) or not methods:
        raise MethodError(f"methods must be a list of at least one, not {methods!r}")
    asked = [request(method) for method in methods]
    if len({one.label for one in asked}) < len(asked):
        raise MethodError(f"methods must be different names in a list, not {', '.join(map(str, asked))}")
    return asked


def repeated(requests: Sequence[Request]) -> tuple[Request, Request] | None:
    """The first two that ask for the same, whatever they are called; None if all differ."""
    for place, one in enumerate(requests):
        if one in requests[:place]:
            return requests[requests.index(one)], one
    return None
