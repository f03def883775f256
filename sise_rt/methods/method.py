"""What a method is: one record, which the parser, the explainer, the commands and the docs read."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from math import inf
from typing import Any

import numpy as np

from sise_rt.errors import MethodError

# Arguments of `Explainer.explain` that are no option of a method, for whoever mistypes one.
OF_EVERY_CALL = ("target", "method", "preset", "batch_size", "progress", "preview", "max_pixels")

Value = int | float | str | tuple[float, ...]


@dataclass(frozen=True)
class Range:
    """The numbers that an option takes.

    Attributes:
        low: the smallest, or what all are above.
        high: likewise the largest.
        above: whether `low` itself is no such number.
        below: whether `high` itself is none.
    """

    low: float = -inf
    high: float = inf
    above: bool = False
    below: bool = False

    def __contains__(self, number: float) -> bool:
        """Whether it lies in the range; NaN does not."""
        return (self.low < number if self.above else self.low <= number) and (
            number < self.high if self.below else number <= self.high
        )

    def written(self, name: str) -> str:
        """The range as an inequality: `0 <= mu < 1`."""
        left = f"{self.low:g} {'<' if self.above else '<='} " if self.low > -inf else ""
        right = f" {'<' if self.below else '<='} {self.high:g}" if self.high < inf or self.below else ""
        return f"{left}{name}{right}"


@dataclass(frozen=True)
class Option:
    """A setting of a method.

    Attributes:
        name: as in Python and in `sise:mu=0.3`.
        default: which is of the option's type; a tuple for several numbers.
        help: one line.
        range: of a number, or of each of several.
        choices: of a text.
        selects: whether any value but the default selects maps by their gradient scores.
        off: what the default stands for, where it is no value like the others, as `no limit`.
    """

    name: str
    default: Value
    help: str
    range: Range = Range()
    choices: tuple[str, ...] = ()
    selects: bool = False
    off: str = ""

    def is_off(self, value: Any) -> bool:
        """Whether a value switches the option off, so that there is nothing to tell of it."""
        return bool(self.off) and value == self.default

    @property
    def kind(self) -> type:
        """`int`, `float` or `str`; of several numbers that of each."""
        return type(self.default[0] if isinstance(self.default, tuple) else self.default)

    def checked(self, value: Any) -> Value:
        """A value in the option's own type, which JSON knows too; nothing is rounded or parsed.

        Raises:
            MethodError: it is of another type, or out of the range.
        """
        try:
            if isinstance(self.default, tuple):
                items = [value] if np.ndim(value) == 0 else list(value)
                several = tuple(float(_plain(self.kind, item)) for item in items)
                if several and all(item in self.range for item in several):
                    return several
            else:
                single = _plain(self.kind, value)
                if isinstance(single, str) and single in self.choices:
                    return single
                if not isinstance(single, str) and single in self.range:
                    return single
        except OverflowError as error:  # the message leaves its hundreds of digits out
            raise MethodError(f"{self.name} is too large a number") from error
        except (TypeError, ValueError) as error:
            raise MethodError(f"{self.name} is {value!r}, where {self.kind.__name__} is needed") from error
        if self.choices:
            raise MethodError(f"{self.name} is {value!r}; known are {', '.join(self.choices)}")
        off = f", and {self.default} is {self.off}" if self.off else ""
        raise MethodError(f"{self.name} is {value!r}, where {self.range.written(self.name)} is needed{off}")

    def parsed(self, text: str) -> Value:
        """A value as it is typed; several numbers have a plus between them, as in `0.05+0.1`.

        Raises:
            MethodError: it is of another type, or out of the range.
        """
        try:
            several = isinstance(self.default, tuple)
            value = tuple(map(self.kind, text.split("+"))) if several else self.kind(text)
        except ValueError as error:
            raise MethodError(f"{self.name} is {text!r}, where {self.kind.__name__} is needed") from error
        return self.checked(value)


def _plain(kind: type, value: Any) -> int | float | str:
    """A value that is of a kind, or a number that can be."""
    if kind is int:
        return operator.index(value)
    if kind is float and not isinstance(value, (str, bytes)):
        return float(value)
    if kind is str and isinstance(value, str):
        return value
    raise TypeError


@dataclass(frozen=True)
class Method:
    """A method of explaining.

    Attributes:
        name: as it is asked for.
        run: takes a `Query`, a `Call`, a `Clock` and the options by name, and gives a `Finding` or
            `NoEvidence` a target.
        help: one line: what its authors call it, in parentheses who and where, and what it is.
        options: all settings.
        graph: of the bundle's graphs the one that it runs besides `features` and `score`; empty for none.
        features: whether it starts from the features of every block.
        gradients: whether it needs gradient scores whatever its options are.
        blocks: whether it gives a map of every block, and a running map while it works.
    """

    name: str
    run: Callable[..., Any]
    help: str
    options: tuple[Option, ...] = ()
    graph: str = ""
    features: bool = False
    gradients: bool = False
    blocks: bool = False

    @property
    def title(self) -> str:
        """What its authors call it, as the help begins."""
        return self.help.partition(" (")[0]

    @property
    def cited(self) -> str:
        """The help without what follows a colon: its title, who published it, and where."""
        return self.help.partition(": ")[0].removesuffix(".")

    def option(self, name: str) -> Option:
        """One of the options.

        Raises:
            MethodError: there is none of that name.
        """
        for option in self.options:
            if option.name == name:
                return option
        names = [option.name for option in self.options]
        close = get_close_matches(name, [*names, *OF_EVERY_CALL], 1)
        hint = f"; close: {close[0]}" if close else ""
        raise MethodError(
            f"{self.name} has no option {name!r}{hint}; its options: {', '.join(names) or 'none'}"
        )

    def has(self, name: str) -> bool:
        """Whether it has an option of that name."""
        return any(option.name == name for option in self.options)

    def in_force(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings for people, without those that are off; names that are no option of it stay."""
        off = {option.name for option in self.options if option.is_off(settings.get(option.name))}
        return {name: value for name, value in settings.items() if name not in off}

    def settings(self, given: Mapping[str, Any]) -> dict[str, Value]:
        """Every option, with its default where none is given.

        Raises:
            MethodError: there is no such option, or a value is of another type, or out of its range.
        """
        settings = {option.name: option.default for option in self.options}
        for name, value in given.items():
            option = self.option(name)
            try:
                settings[name] = option.checked(value)
            except MethodError as error:
                raise MethodError(f"{self.name}: {error.message}", settings=error.settings) from error
        return settings
