"""Targets: from what the user writes to a class index."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from operator import index as index_of
from typing import SupportsIndex

from .bundle import Manifest
from .errors import TargetError

INDEX = re.compile(r"[+-]?[0-9]{1,9}")  # longer digits are no index of anything
FEW = 5  # labels that are listed
MOST = 10**9 - 1  # the same of numbers


def resolve_target(target: int | str, manifest: Manifest) -> int:
    """The class that a target names.

    Args:
        target: a class index, an index in digits, a whole label, or one of a label's comma-separated names;
            letter case does not matter. `index:3` and `label:3` tell an index from a label of digits.
        manifest: of the bundle.

    Raises:
        TargetError: no class or several classes have that name, or the index is out of range.
    """
    if not isinstance(target, (str, SupportsIndex)):
        raise TargetError(f"target {target!r} is no label and no index; for several there is explain_targets")
    if not isinstance(target, str) and not -MOST <= index_of(target) <= MOST:  # Python prints no longer ones
        raise TargetError(f"a target of more than 9 digits is out of range: {_range(manifest)}")
    text = str(target).strip()
    if isinstance(target, bool) or not text:
        raise TargetError(f"target {target!r} is neither a class index nor a label")
    kind, _, rest = text.partition(":")
    explicit = kind if kind in ("index", "label") else None
    text = rest.strip() if explicit else text
    if explicit != "label" and INDEX.fullmatch(text):
        index = int(text)
        if not 0 <= index < manifest.classes:
            raise TargetError(f"target {index} is out of range: {_range(manifest)}")
        if (
            isinstance(target, str)
            and not explicit
            and text in manifest.labels
            and manifest.label(index) != text
        ):
            raise TargetError(
                f"target {text!r} is both an index and a label: give index:{text} or label:{text}"
            )
        return index
    if explicit == "index":
        raise TargetError(f"target {target!r} is no class index")
    if not manifest.labels:
        raise TargetError(
            f"target {text!r}: the bundle has no labels: give a class index, or amend it with labels"
        )
    wanted = text.casefold()
    whole = [i for i, label in enumerate(manifest.labels) if label.casefold() == wanted]
    names = [i for i, label in enumerate(manifest.labels) if wanted in _names(label)]
    matching = whole or names
    if len(matching) == 1:
        return matching[0]
    if matching:
        classes = ", ".join(f"{i} ({manifest.labels[i]})" for i in matching[:5])
        raise TargetError(f"target {text!r} names {len(matching)} classes: {classes}; give the index")
    if near := _near(wanted, manifest.labels):
        hint = f"close: {'; '.join(near)}"
    else:
        more = "; ..." if manifest.classes > FEW else ""
        hint = f"its labels are {'; '.join(manifest.labels[:FEW])}{more}"
    raise TargetError(f"target {text!r} is no label of this model; {hint}")


def _near(wanted: str, labels: Sequence[str]) -> list[str]:
    """Labels with a word in them, then those that are spelt alike, then those with it inside of a word."""
    word = re.compile(rf"(?<!\w){re.escape(wanted)}(?!\w)")
    by_name = {name: label for label in labels for name in (label.casefold(), *_names(label))}
    near = [label for label in labels if word.search(label.casefold())][:FEW]
    near += [by_name[name] for name in get_close_matches(wanted, by_name, 3)]
    near += [label for label in labels if wanted in label.casefold()][:3]
    return list(dict.fromkeys(near))[:FEW]


def _range(manifest: Manifest) -> str:
    return f"the model has classes 0 to {manifest.classes - 1}"


def is_named(target: int | str, index: int, label: str) -> bool:
    """Whether a target, which names one class of a model, names this one."""
    kind, _, rest = str(target).strip().partition(":")
    text = rest.strip() if kind in ("index", "label") else str(target).strip()
    if kind != "label" and INDEX.fullmatch(text):
        return int(text) == index
    return text.casefold() in (label.casefold(), *_names(label))


def _names(label: str) -> list[str]:
    return [name.strip().casefold() for name in label.split(",")]
