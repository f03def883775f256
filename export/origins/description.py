"""What a model's own files say of it, and which file and key said so."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sise_rt.errors import ModelError
from sise_rt.label_files.values import labels_of
from sise_rt.manifest import ACTIVATIONS
from sise_rt.preprocessing import COLORS, CROP_MODES, INTERPOLATIONS, LARGEST, SMALLEST
from sise_rt.wording import Note, counted

MOST_LABELS = 1_000_000
LARGEST_EXTENT = 1 << 20  # of what a file may say; `intake.sizes` judges what can be run
SHOWN = 60  # characters of a value in an error
UNTOLD = frozenset({"crop_floor"})  # a matter of a pixel, which goes with the crop


class Said(NamedTuple):
    """A setting as a file says it.

    Attributes:
        value: in the words of `Description`'s settings.
        file: for people: `preprocessor_config.json`, `the model's metadata`.
        key: in that file, as `image_mean`; several with commas between them.
    """

    value: Any
    file: str
    key: str


class Unsettled(NamedTuple):
    """What a file says and no bundle can follow, unless the user says otherwise.

    Attributes:
        reason: in a line that names file and key.
        settings: by their names in Python; where the user gives all of them, it is settled.
    """

    reason: str
    settings: tuple[str, ...]


@dataclass
class Description:
    """What is said of a model besides its graph.

    Settings are `mean`, `std`, `scale`, `crop_pct`, `crop_mode`, `interpolation` and `color` as `Preprocess`
    has them, and its `crop_floor`; `input_size`, (channels or None, height, width); `activation`; `labels`, a
    list; `licence`.

    Attributes:
        said: by setting.
        unsettled: what cannot be followed.
        notes: what else is to be told, as what was read and left out.
        of_other_weights: whether it is said of other weights than those that are exported, and so assumed.
    """

    said: dict[str, Said] = field(default_factory=dict)
    unsettled: list[Unsettled] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    of_other_weights: bool = False

    @classmethod
    def of(cls, file: str, *, of_other_weights: bool = False, **settings: Any) -> Description:
        """What one file says under our own names; None is nothing."""
        description = cls(of_other_weights=of_other_weights)
        for setting, value in settings.items():
            description.say(setting, value, file)
        return description

    def say(self, setting: str, value: Any, file: str, key: str = "") -> None:
        """Add a setting; a value of the wrong type or absurd size stays unsettled. None is nothing.

        Args:
            setting: one of the settings above.
            value: numbers, words, lists, as JSON has them.
            file: which says so.
            key: in the file, where it is called otherwise.
        """
        if value is None:
            return
        needed, read = READERS[setting]
        try:
            self.said[setting] = Said(read(value), file, key or setting)
        except (ValueError, TypeError, OverflowError):
            self.leave_unsettled(
                f"{key or setting} is {_cut(value)}, where {needed} is needed", file, setting
            )

    def say_labels(self, value: Any, file: str, key: str) -> None:
        """Add the labels that a value states in any form; what cannot be read of it stays unsettled."""
        try:
            labels = labels_of(value, key)
        except ModelError as error:
            self.leave_unsettled(error.message, file, "labels")
        else:
            self.say("labels", labels, file, key)

    def leave_unsettled(self, reason: str, file: str, *settings: str) -> None:
        """Add what cannot be followed, and the settings by which the user says what to do instead."""
        self.unsettled.append(Unsettled(f"{file}: {reason}", settings))

    def value(self, setting: str) -> Any:
        """What is said of a setting, None if nothing is."""
        said = self.said.get(setting)
        return said.value if said else None

    def with_more(self, other: Description) -> Description:
        """This and what another file of the same model says; a setting in which they differ is unsettled."""
        both = Description(
            other.said | self.said,
            [*self.unsettled, *other.unsettled],
            [*self.notes, *other.notes],
            self.of_other_weights or other.of_other_weights,
        )
        for setting in self.said.keys() & other.said.keys():
            mine, others = self.said[setting], other.said[setting]
            if not _same(mine.value, others.value):
                both.leave_unsettled(
                    f"{mine.key} is {_exactly(mine.value)}, and {others.file} says {_exactly(others.value)} "
                    f"({others.key}): say which",
                    mine.file,
                    setting,
                )
        return both

    def require_settled(self, given: Collection[str]) -> None:
        """Refuse what cannot be followed and the user did not settle.

        Raises:
            ModelError: names file and key, and the settings that would settle it.
        """
        for reason, settings in self.unsettled:
            if not settings or not set(settings) <= set(given):
                raise ModelError(reason, settings=settings)

    def taken(self, settings: Collection[str]) -> Iterator[str]:
        """What was taken of these settings from which file: a line each file."""
        files: dict[str, dict[str, list[str]]] = {}
        for setting, (value, file, key) in self.said.items():
            if setting in settings and setting not in UNTOLD and not self.of_other_weights:
                text = shown(value) if setting == "labels" else f"{setting} {shown(value)}"
                files.setdefault(file, {}).setdefault("" if key == setting else f" ({key})", []).append(text)
        for file, keys in files.items():
            yield f"from {file}: {'; '.join(', '.join(texts) + key for key, texts in keys.items())}"


def shown(value: Any) -> str:
    """A setting in words: `0.485,0.456,0.406`, `224x224`, `3 labels`."""
    if isinstance(value, list):
        return counted(len(value), "label")
    if isinstance(value, tuple) and len(value) == 3 and all(isinstance(v, int | None) for v in value[:1]):
        if all(isinstance(extent, int) for extent in value[1:]):
            return f"{value[1]}x{value[2]}"
    if isinstance(value, tuple):
        return ",".join(f"{v:g}" for v in value)
    if isinstance(value, float):
        text = f"{value:g}"
        return text if "." in text or "e" in text else f"{text}.0"
    return str(value)


def _exactly(value: Any) -> str:
    """A setting as in `shown`, of labels the first as well."""
    if not isinstance(value, list):
        return shown(value)
    first = ", ".join(repr(label[:30]) for label in value[:3])
    return f"{shown(value)} ({first}{', ...' if len(value) > 3 else ''})"


def _cut(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)
    if isinstance(one, tuple) and isinstance(other, tuple) and None not in (*one, *other):
        if 1 in (len(one), len(other)):  # one value stands for every channel
            return all(math.isclose(a, b, rel_tol=1e-6) for a in one for b in other)
        return len(one) == len(other) and all(map(math.isclose, one, other))
    if isinstance(one, tuple) and isinstance(other, tuple):  # sizes, of which one leaves the channels free
        return one[1:] == other[1:]
    return bool(one == other)


# ---------------------------------------------------------------------------------------------- readers


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        raise ValueError(value)
    return float(value)


def _positive(value: Any) -> float:
    if not SMALLEST < _number(value) < LARGEST:
        raise ValueError(value)
    return _number(value)


def _share(value: Any) -> float:
    if not 0.01 <= _number(value) <= 1:
        raise ValueError(value)
    return _number(value)


def _each(value: Any, read: Callable[[Any], float]) -> tuple[float, ...]:
    entries = value if isinstance(value, list | tuple) else (value,)
    if not 0 < len(entries) <= LARGEST_EXTENT:
        raise ValueError(value)
    return tuple(map(read, entries))


def _numbers(value: Any) -> tuple[float, ...]:
    return _each(value, _number)


def _positives(value: Any) -> tuple[float, ...]:
    return _each(value, _positive)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(value)
    return value


def _size(value: Any) -> tuple[int | None, int, int]:
    channels, height, width = value
    for extent in (height, width, *(() if channels is None else (channels,))):
        if isinstance(extent, bool) or not isinstance(extent, int) or not 0 < extent <= LARGEST_EXTENT:
            raise ValueError(value)
    return channels, height, width


def _labels(value: Any) -> list[str]:
    if not isinstance(value, list | tuple) or not 0 < len(value) <= MOST_LABELS:
        raise ValueError(value)
    if not all(isinstance(label, str | int | float) for label in value):
        raise ValueError(value)
    return [str(label) for label in value]


def _word(*known: str) -> tuple[str, Callable[[Any], str]]:
    def read(value: Any) -> str:
        if value not in known:
            raise ValueError(value)
        return str(value)

    return " or ".join((", ".join(known[:-1]), known[-1])), read


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 10_000:
        raise ValueError(value)
    return value


READERS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "mean": ("a number, or one a channel,", _numbers),
    "std": ("a positive number, or one a channel,", _positives),
    "scale": ("a positive number", _positive),
    "crop_pct": ("a share of 0.01 to 1", _share),
    "crop_mode": _word(*CROP_MODES),
    "interpolation": _word(*INTERPOLATIONS),
    "color": _word(*dict.fromkeys(color for colors in COLORS.values() for color in colors)),
    "crop_floor": ("true or false", _flag),
    "input_size": ("a size in pixels", _size),
    "activation": _word(*ACTIVATIONS),
    "labels": ("a list of labels, or labels by index from 0,", _labels),
    "licence": ("a text", _text),
}
