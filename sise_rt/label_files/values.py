"""Labels as a list or a dictionary: by index, by name, or below a key that holds labels by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sise_rt.errors import ModelError
from sise_rt.wording import counted

# Keys that hold labels: of Hugging Face, timm, Ultralytics and others, the most explicit first.
KEYS = (
    "id2label",
    "label_names",
    "class_names",
    "names",
    "labels",
    "classes",
    "class_to_idx",
    "class_indices",
)
LARGEST_INDEX = 1_000_000  # of a class, so that a list of as many labels is never made for a single one


def labels_of(value: Any, where: str) -> list[str]:
    """The labels that a value states, in the order of the classes.

    Args:
        value: a list of names; names by index, `{"0": "cat"}`; indices by name, `{"cat": 0}`, as Keras'
            `class_indices` and torchvision's `class_to_idx`; or one of these under one of `KEYS`.
        where: what holds it, for messages: a file, a key.

    Raises:
        ModelError: it is none of these, or an index is missing or there twice.
    """
    if isinstance(value, (list, tuple)):
        return [_name(entry, where) for entry in value]
    if not isinstance(value, Mapping) or not value:
        raise refusal(
            where, f"is {repr(value)[:60]}, where a list of labels, or labels by index from 0, is needed"
        )
    keys, entries = list(map(_index, value)), list(map(_index, value.values()))
    if None not in keys + entries and keys != entries:  # classes named by numbers, in one of both
        keys_run, entries_run = (set(numbers) == set(range(len(value))) for numbers in (keys, entries))
        if keys_run and entries_run:
            raise refusal(where, "maps numbers to numbers, which may be read both ways: give a list")
        keys = [None] if entries_run else keys
    if None not in keys:
        return in_order(((int(key), _name(name, where)) for key, name in value.items()), where)
    if None not in entries:
        return in_order(((int(index), str(name)) for name, index in value.items()), where)
    for key in KEYS:
        if isinstance(value.get(key), (list, tuple, Mapping)):
            return labels_of(value[key], f"{where}: {key}")
    listed = ", ".join(repr(str(key)[:30]) for key in list(value)[:3])
    raise refusal(where, f"has no indices for keys ({listed}, ...), and none of {', '.join(KEYS)}")


def in_order(pairs: Iterable[tuple[int, str]], where: str) -> list[str]:
    """Labels by their indices, which run from 0 without gaps.

    Raises:
        ModelError: one is missing or there twice.
    """
    names: dict[int, str] = {}
    for index, name in pairs:
        if index in names:
            raise refusal(where, f"has index {index} twice, for {names[index][:60]!r} and {name[:60]!r}")
        names[index] = name
    missing = next((index for index in range(len(names)) if index not in names), None)
    if missing is not None:
        others = f"{counted(len(names), 'label')}, with indices from {min(names)} to {max(names)}"
        raise refusal(where, f"has no label of class {missing}: there are {others}")
    return [names[index] for index in range(len(names))]


def first_ones(labels: Sequence[str]) -> str:
    """The first labels, for a message that tells what a file holds."""
    return ", ".join(repr(label[:30]) for label in labels[:3])


def _index(value: Any) -> int | None:
    """A class's index as a number, or None where it is no index."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 8:
        value = int(value)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value < LARGEST_INDEX else None


def _name(entry: Any, where: str) -> str:
    """A label; of several, as Keras' `["n01440764", "tench"]`, the last."""
    if isinstance(entry, (list, tuple)) and entry:
        entry = entry[-1]
    if isinstance(entry, (str, int, float)) and str(entry).strip():
        return str(entry).strip()
    raise refusal(where, f"holds {str(entry)[:60]!r}, which is no label")


def refusal(where: str, why: str) -> ModelError:
    """What is raised of labels that cannot be read: of what holds them, and what is wrong with it."""
    return ModelError(f"{where} {why}", settings=("labels",))
