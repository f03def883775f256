"""Labels of classes: from the user, else the source; and label files whose lines are not in their order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sise_rt.errors import ModelError
from sise_rt.wording import Note, counted, reason

from .origins.description import Description

# A line that carries the index of its class, in front or behind, in a frame that is the same in all lines,
# as in `class 1: green`. No index is part of a word (`2nd`), a fraction (`0.5 mm`) or a range (`1-2 years`).
NUMBERED = (
    re.compile(r"(?P<frame>\D*)(?<![^\W_])(?P<index>\d+)(?![^\W_]|\.\d|\s*[–-]\s*\d+\b)(?P<label>.*)"),
    re.compile(r"(?P<label>.*)(?<![^\W_])(?<!\d[.–-])(?<!\d [–-] )(?P<index>\d+)(?![^\W_])(?P<frame>\D*)"),
)
WORD = re.compile(r"""[^\s\d:;,.=()\[\]|_"'#-]""")  # what a label has besides separators
OF_A_LIST = re.compile(r"[\s,{}]")  # in a frame, what the first or last line of a list may have more or less
HEADINGS = frozenset("category class classes id index label labels name names".split())
LONGEST_NUMBERED = 500  # characters of a line; what is longer would take the patterns long
FEWEST_NUMBERED = 3  # lines that tell a numbering from names that happen to hold numbers


def class_labels(
    given: str | Path | Sequence[str] | None, description: Description, classes: int, two_sided: bool
) -> tuple[tuple[str, ...], Note | None, str | None]:
    """One label a class, empty if unknown; what had to be assumed of them; and why the source's are left out.

    Raises:
        ModelError: the label file cannot be read, has another number of labels than the model has classes, or
            numbers its lines in another order than theirs; the model's own files have another number.
    """
    if given is not None:
        labels = (
            _read_labels(Path(given)) if isinstance(given, (str, Path)) else [str(label) for label in given]
        )
        labels = _both_sides(labels, two_sided)
        if len(labels) != classes:
            raise ModelError(
                _other_count(len(labels), classes) + _heading(labels, classes), settings=("labels",)
            )
        if isinstance(given, (str, Path)):
            _refuse_other_order(Path(given), labels)
        return tuple(labels), None, None
    unknown = ("negative", "positive") if two_sided else ()
    if (said := description.said.get("labels")) is None:
        return unknown, None, None
    labels = _both_sides(said.value, two_sided)
    if len(labels) == classes:
        assumed = Note(f"labels, as for {said.file}", "labels") if description.of_other_weights else None
        return tuple(labels), assumed, None
    if description.of_other_weights:
        return unknown, None, f"labels of {said.file} left out: {_other_count(len(labels), classes)}"
    first = ", ".join(repr(label[:30]) for label in labels[:3])
    raise ModelError(
        f"{said.file}: {said.key} has {_other_count(len(labels), classes)}; the first are {first}",
        settings=("labels",),
    )


def _both_sides(labels: list[str], two_sided: bool) -> list[str]:
    """The labels of a model whose single output has become two classes, where one was named."""
    return [f"not {labels[0]}", labels[0]] if two_sided and len(labels) == 1 else labels


def _other_count(labels: int, classes: int) -> str:
    return f"{counted(labels, 'label')} for a model with {counted(classes, 'class', 'classes')}"


def _read_labels(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(
            f"labels cannot be read from {path}: {reason(error)}", settings=("labels",)
        ) from error
    return [line.strip() for line in lines if line.strip()]


def _heading(labels: Sequence[str], classes: int) -> str:
    """A hint at a line too many that is no label."""
    words = set(re.findall(r"[a-z]+", labels[0].lower())) if labels else set()
    if len(labels) != classes + 1 or not (labels[0].startswith("#") or (words and words <= HEADINGS)):
        return ""
    return f": leave out line 1, {labels[0][:60]!r}, if it is a heading"


def _refuse_other_order(path: Path, lines: Sequence[str]) -> None:
    """Refuse a file that says of its lines that they are not in the order of the classes."""
    indices = _indices(lines)
    if indices is None:
        _refuse_heading(path, lines)
        return
    first = min(indices)
    for place, (line, index) in enumerate(zip(lines, indices, strict=True)):
        if index != place + first:
            raise ModelError(
                f"{path} numbers its labels in another order than that of its lines: label {place + 1}, "
                f"{line[:60]!r}, should have {place + first}; sort the lines by their numbers",
                settings=("labels",),
            )


def _refuse_heading(path: Path, lines: Sequence[str]) -> None:
    """Refuse a first line that is no label, where by its count it could be one."""
    comment = re.match(r"#\s", lines[0]) and not any(line.startswith("#") for line in lines[1:])
    if comment or 0 in (_indices(lines[1:]) or ()):
        raise ModelError(
            f"{path}: line 1, {lines[0][:60]!r}, is a heading, and would be the label of class 0: leave it "
            "out, and give one label a class",
            settings=("labels",),
        )


def _indices(lines: Sequence[str]) -> list[int] | None:
    """The numbers that lines carry where these count different labels, from 0 or from 1; else None.

    Of two numberings, that in the order of the lines.
    """
    if len(lines) < FEWEST_NUMBERED or max(map(len, lines)) > LONGEST_NUMBERED:
        return None
    numberings = []
    for pattern in NUMBERED:
        matches = [match for match in map(pattern.fullmatch, lines) if match and WORD.search(match["label"])]
        texts = {match["label"] for match in matches}
        frames = {OF_A_LIST.sub("", match["frame"]) for match in matches}
        if (
            len(texts) < len(lines) or len(frames) > 1
        ):  # names such as `grade 2` differ in their numbers alone
            continue
        indices = [int(match["index"][:9]) for match in matches]
        if sorted(indices) in (list(range(len(lines))), list(range(1, len(lines) + 1))):
            numberings.append(indices)
    return min(numberings, key=lambda indices: indices != sorted(indices), default=None)
