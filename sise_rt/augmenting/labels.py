"""labels.csv: what a training reads, a row for each picture that was written."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sise_rt.evaluation.store import plain_cell

TABLE = "labels.csv"
COLUMNS = ("path", "class", "soft_label", "weight", "kind", "source", "method", "area")

RANDOM = "random"  # in place of a method: maps that know nothing of the picture
ORIGINAL, REST, SALIENT = "original", "rest_occluded", "salient_occluded"
KINDS = (ORIGINAL, REST, SALIENT)
"""What a picture may be, in the order of the rows, and of the files of a line of the results."""

BACKGROUND, UNIFORM, UNWEIGHTED = "background", "uniform", "weight=0"
SALIENT_LABELS = {
    BACKGROUND: "it is labelled background",
    UNIFORM: "its label gives nothing more than anything else",
    UNWEIGHTED: "it keeps its label, with the weight 0",
}
"""How a picture may be labelled whose salient part is hidden, in words."""


@dataclass(frozen=True)
class Labelling:
    """How pictures are labelled.

    Attributes:
        classes: what the model's classes are called.
        activation: of the model, `softmax` or `sigmoid`.
        salient: one of `SALIENT_LABELS`.
        kept: class indices that keep their label whatever is hidden, as one that says that nothing is wrong.
    """

    classes: Sequence[str]
    activation: str
    salient: str
    kept: Sequence[int] = ()

    @property
    def background(self) -> int | None:
        """The place of the background in a soft label: a class of that name, or one behind all others.

        None where there is none: several outputs of a sigmoid that are all low say it already.
        """
        if self.salient != BACKGROUND or self.activation == "sigmoid":
            return None
        names = [name.casefold() for name in self.classes]
        return names.index(BACKGROUND) if BACKGROUND in names else len(names)

    @property
    def width(self) -> int:
        """How many values a soft label has."""
        return max(len(self.classes), (self.background or 0) + 1)

    def gone(self, kind: str, target: int) -> bool:
        """Whether a picture of a kind does not show its class any more."""
        return kind == SALIENT and target not in self.kept

    def hard(self, kind: str, target: int) -> str:
        """The class of a picture; nothing where it is none."""
        if not self.gone(kind, target) or self.salient == UNWEIGHTED:
            return self.classes[target]
        return BACKGROUND if self.salient == BACKGROUND else ""

    def weight(self, kind: str, target: int) -> int:
        """How much a picture counts."""
        return int(not self.gone(kind, target) or self.salient != UNWEIGHTED)

    def soft(self, kind: str, target: int, present: Iterable[int]) -> np.ndarray:
        """The label of a picture, float64 (width,): of a softmax a distribution, of a sigmoid a value each.

        Args:
            kind: one of `KINDS`.
            target: the class whose evidence is hidden, or shown alone.
            present: all classes of the picture; a softmax has the target alone.
        """
        label = np.zeros(self.width)
        hidden = self.gone(kind, target) and self.salient != UNWEIGHTED
        if self.activation == "sigmoid":
            label[[target] if kind == REST else list(present)] = 1
            if hidden:
                label[target] = 0.5 if self.salient == UNIFORM else 0
        elif not hidden:
            label[target] = 1
        elif self.background is not None:
            label[self.background] = 1
        else:
            label[:] = 1 / self.width
        return label


def rows(line: Mapping[str, Any], labelling: Labelling, method: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a picture.

    Args:
        line: of the results, with its files in the order of `KINDS`; see `sise_rt.augmenting.run`.
        labelling: how its pictures are labelled.
        method: what found out what is salient.
    """
    target = line["target"]
    for kind, file in zip(KINDS, line["files"], strict=False):  # an original may stand alone
        area = {ORIGINAL: 0.0, REST: 1 - (line["area"] or 0), SALIENT: line["area"]}[kind]
        yield (
            file,
            plain_cell(labelling.hard(kind, target)),
            " ".join(f"{value:.9g}" for value in labelling.soft(kind, target, line["present"])),
            labelling.weight(kind, target),
            kind,
            plain_cell(line["id"]),
            "" if kind == ORIGINAL else plain_cell(method),
            f"{area:.6f}",
        )


def table(lines: Iterable[Mapping[str, Any]], labelling: Labelling, method: str) -> bytes:
    """The whole table, in the order of the lines; UTF-8, with a heading."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in lines:
        writer.writerows(rows(line, labelling, method))
    return text.getvalue().encode("utf-8", "backslashreplace")
