"""Labels of classes: from the user, else the source; and label files whose lines are not in their order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sise_rt.errors import ModelError
from sise_rt.wording import Note, counted, reason

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
    given: str | Path | Sequence[str] | None, metadata: Mapping[str, Any], classes: int, two_sided: bool
) -> tuple[tuple[str, ...], Note | None, str | None]:
    """One label a class, empty if unknown; what had to be assumed of them; and why the source's are left out.

    Raises:
        ModelError: the label file cannot be read, has another number of labels than the model has classes, or
            numbers its lines in another order than theirs.
    """
    if given is not None:
        labels = (
            _read_labels(Path(given)) if isinstance(given, (str, Path)) else [str(label) for label in given]
        )
        if two_sided and len(labels) == 1:
            labels = [f"not {labels[0]}", labels[0]]
        if len(labels) != classes:
            raise ModelError(
                _other_count(len(labels), classes) + _heading(labels, classes), settings=("labels",)
            )
        if isinstance(given, (str, Path)):
            _refuse_other_order(Path(given), labels)
        return tuple(labels), None, None
    labels = metadata.get("labels") or []
    if len(labels) == classes:
        assumed = None
        if metadata.get("of_other_weights"):
            assumed = Note(f"labels, as for {metadata['described_by']}", "labels")
        return tuple(labels), assumed, None
    because = metadata.get("labels_left_out")
    if labels:
        because = _other_count(len(labels), classes)
    left_out = f"labels of {metadata['described_by']} left out: {because}" if because else None
    return ("negative", "positive") if two_sided else (), None, left_out


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
