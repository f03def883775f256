"""The gate of rounded scores: on real pictures, explanations by them against those by float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sise_rt.errors import ArgumentError, ParityError
from sise_rt.pictures.reading import PICTURES
from sise_rt.wording import reason

from .masked_picture import MaskedPicture, Scored

CORRELATION, WORST_CORRELATION, JACCARD = 0.99, 0.95, 0.98
ENOUGH = 20  # pictures; more are not taken


@dataclass(frozen=True)
class Rounding:
    """What is judged, in words.

    Attributes:
        scores: as `float16 scores`.
        instead: what to do where they are refused.
        images: the argument that names the pictures.
    """

    scores: str
    instead: str
    images: str


@dataclass(frozen=True)
class Difference:
    """Between the explanations of a picture by rounded scores and by those in float32.

    Attributes:
        correlation: Pearson's, of the two maps; 0 where only one explains the picture.
        jaccard: of the two sets of feature maps that entered them.
        confidence: the largest difference of a masked copy's confidence.
    """

    correlation: float
    jaccard: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far explanations by rounded scores are from those by float32.

    Attributes:
        pictures: names, in the order of the other figures.
        correlations: as of `Difference`.
        jaccards: likewise.
        confidence: the largest difference of a masked copy's confidence.
        left_out: how many pictures have no explanation in either precision.
    """

    pictures: tuple[str, ...]
    correlations: tuple[float, ...]
    jaccards: tuple[float, ...]
    confidence: float
    left_out: int

    def figures(self) -> dict[str, float]:
        """What is recorded, in five digits."""
        figures = {
            "correlation": np.mean(self.correlations),
            "lowest_correlation": min(self.correlations),
            "jaccard": np.mean(self.jaccards),
            "confidence": self.confidence,
        }
        return {name: float(f"{value:.5g}") for name, value in figures.items()}

    def failures(self) -> list[str]:
        """What is not as it has to be, a clause each."""
        mean, jaccard = np.mean(self.correlations), np.mean(self.jaccards)
        worst = int(np.argmin(self.correlations))
        lowest, where = self.correlations[worst], self.pictures[worst]
        figures = (
            (mean, CORRELATION, "explanations correlate at {:.4f} in the mean"),
            (lowest, WORST_CORRELATION, f"they correlate at {{:.4f}} for {where}"),
            (jaccard, JACCARD, "the sets of kept maps have a Jaccard index of {:.4f}"),
        )
        return [f"{text.format(x)} ({least} is needed)" for x, least, text in figures if not x >= least]


def difference(
    picture: MaskedPicture, exact: Scored, rounded: Scored, rounding: Rounding
) -> Difference | None:
    """Between the two precisions; None if neither explains the picture.

    Raises:
        ParityError: a confidence is no number.
    """
    both = zip(exact.blocks, rounded.blocks, strict=True)
    pairs = [(e.confidences, r.confidences) for e, r in both if e and r]
    if bad := sum(int((~np.isfinite(r)).any(axis=1).sum()) for _, r in pairs):
        raise ParityError(
            f"{rounding.scores} are refused: {bad} of {sum(map(np.sum, picture.kept))} confidences of masked "
            f"copies of {picture.name} are no numbers: {rounding.instead}",
            settings=("precision",),
        )
    one, other = picture.explanation(exact), picture.explanation(rounded)
    if one is None and other is None:
        return None
    used = [np.concatenate(picture.usable(scored)) for scored in (exact, rounded)]
    return Difference(
        0.0 if one is None or other is None else float(np.corrcoef(one.ravel(), other.ravel())[0, 1]),
        float((used[0] & used[1]).sum() / (used[0] | used[1]).sum()),
        max(float(np.abs(e - r).max()) for e, r in pairs),
    )


def agreement(differences: Sequence[tuple[str, Difference]], pictures: int, rounding: Rounding) -> Agreement:
    """The figures of all pictures; where one has several differences, the worst of each kind counts.

    Args:
        differences: each with its picture's name.
        pictures: how many there were, with those that nothing explains.
        rounding: in words.

    Raises:
        ParityError: there is none.
    """
    if not differences:
        raise ParityError(
            f"{rounding.scores} cannot be judged: nothing explains any of the {pictures} pictures: give some "
            "of the kind that the model is for",
            settings=(rounding.images,),
        )
    by_name: dict[str, list[Difference]] = {}
    for name, between in differences:
        by_name.setdefault(name, []).append(between)
    return Agreement(
        pictures=tuple(by_name),
        correlations=tuple(min(d.correlation for d in own) for own in by_name.values()),
        jaccards=tuple(min(d.jaccard for d in own) for own in by_name.values()),
        confidence=max(d.confidence for _, d in differences),
        left_out=pictures - len(by_name),
    )


def drawn_pictures(folder: str | Path, setting: str) -> list[Path]:
    """At most `ENOUGH` of a folder's pictures and its subfolders', evenly drawn in the order of their names.

    Args:
        folder: of pictures that the model is for.
        setting: the argument that names it.

    Raises:
        ArgumentError: the folder is missing, cannot be read, or has no pictures.
    """
    folder = Path(folder)
    try:
        if not folder.is_dir():
            raise ArgumentError(
                f"{str(folder)!r}: no such folder, where a folder of pictures is needed", settings=(setting,)
            )
        pictures = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in PICTURES and not path.name.startswith(".") and path.is_file()
        )
    except ArgumentError:
        raise
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"{str(folder)!r} cannot be read: {reason(error)}", settings=(setting,)
        ) from error
    if not pictures:
        raise ArgumentError(
            f"{folder} has no pictures: some {ENOUGH} are needed, of the kind that the model is for",
            settings=(setting,),
        )
    count = min(len(pictures), ENOUGH)
    return [pictures[i * len(pictures) // count] for i in range(count)]
