"""Lines that carry the index of their class, and files whose lines are not in the order of these."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sise_rt.errors import ModelError

# A line that carries the index of its class, in front or behind, in a frame that is the same in all lines,
# as in `class 1: green`. No index is part of a word (`2nd`), a fraction (`0.5 mm`) or a range (`1-2 years`).
NUMBERED = (
    re.compile(r"(?P<frame>\D*)(?<![^\W_])(?P<index>\d+)(?![^\W_]|\.\d|\s*[–-]\s*\d+\b)(?P<label>.*)"),
    re.compile(r"(?P<label>.*)(?<![^\W_])(?<!\d[.–-])(?<!\d [–-] )(?P<index>\d+)(?![^\W_])(?P<frame>\D*)"),
)
WORD = re.compile(r"""[^\s\d:;,.=()\[\]|_"'#-]""")  # what a label has besides separators
OF_A_LIST = re.compile(r"[\s,{}]")  # in a frame, what the first or last line of a list may have more or less
WORDNET = re.compile(
    r"n\d{8}[\s,:]+(?=\S)"
)  # the id of a noun in front of its names, in ImageNet's synset_words.txt
WITHOUT_IDS = "without WordNet ids"
HEADINGS = frozenset("category class classes id index label labels name names".split())
LONGEST_NUMBERED = 500  # characters of a line; what is longer would take the patterns long
FEWEST_NUMBERED = 3  # lines that tell a numbering from names that happen to hold numbers


def without_index_column(lines: Sequence[str], fewest: int = FEWEST_NUMBERED) -> list[str]:
    """Lines `0 cat`, `1 dog`, ... without their numbers, as Keras and Teachable Machine write them.

    Args:
        lines: as they stand in the file.
        fewest: lines that tell such a column from names as `2 doors`.
    """
    parts = [line.split(maxsplit=1) for line in lines]
    numbered = all(len(part) == 2 and part[0] == str(index) for index, part in enumerate(parts))
    names = [part[-1] for part in parts if part]
    if not numbered or len(lines) < fewest or len(set(names)) < len(lines):
        return list(lines)
    return names


def without_wordnet_ids(labels: Sequence[str]) -> list[str]:
    """Labels `n02123159 tiger cat` without the ids in front, where all have one."""
    if not all(map(WORDNET.match, labels)):
        return list(labels)
    return [WORDNET.sub("", label, count=1) for label in labels]


def heading_hint(labels: Sequence[str], classes: int) -> str:
    """A hint at a line too many that is no label."""
    words = set(re.findall(r"[a-z]+", labels[0].lower())) if labels else set()
    if len(labels) != classes + 1 or not (labels[0].startswith("#") or (words and words <= HEADINGS)):
        return ""
    return f": leave out line 1, {labels[0][:60]!r}, if it is a heading"


def refuse_other_order(where: str, lines: Sequence[str]) -> None:
    """Refuse a file that says of its lines that they are not in the order of the classes.

    Raises:
        ModelError: it numbers them otherwise, or its first line is a heading.
    """
    indices = _indices(lines)
    if indices is None:
        _refuse_heading(where, lines)
        return
    first = min(indices)
    for place, (line, index) in enumerate(zip(lines, indices, strict=True)):
        if index != place + first:
            raise ModelError(
                f"{where} numbers its labels in another order than that of its lines: label {place + 1}, "
                f"{line[:60]!r}, should have {place + first}; sort the lines by their numbers",
                settings=("labels",),
            )


def _refuse_heading(where: str, lines: Sequence[str]) -> None:
    """Refuse a first line that is no label, where by its count it could be one."""
    comment = re.match(r"#\s", lines[0]) and not any(line.startswith("#") for line in lines[1:])
    if comment or 0 in (_indices(lines[1:]) or ()):
        raise ModelError(
            f"{where}: line 1, {lines[0][:60]!r}, is a heading, and would be the label of class 0: leave it "
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
