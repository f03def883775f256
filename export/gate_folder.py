"""The precision of the scores, and the pictures to judge it by, which only the user has."""

from __future__ import annotations

from pathlib import Path

from sise_rt.bundle import PRECISIONS
from sise_rt.errors import ArgumentError
from sise_rt.phases.gate import ENOUGH, drawn_pictures


def gate_pictures(precision: str, folder: str | Path | None) -> list[Path]:
    """The pictures that a lower precision is judged by; none for float32.

    Args:
        precision: one of `PRECISIONS`.
        folder: as for `drawn_pictures`.

    Raises:
        ArgumentError: there is no such precision; the folder is missing, or needless, or has no pictures.
    """
    if precision not in PRECISIONS:
        raise ArgumentError(
            f"no precision {precision!r}; known are {', '.join(PRECISIONS)}", settings=("precision",)
        )
    if precision == "fp32":
        if folder is not None:
            raise ArgumentError(
                "pictures judge the precision fp16, which was not asked for: leave them out, or ask for it",
                settings=("gate_images", "precision"),
            )
        return []
    if folder is None:
        raise ArgumentError(
            "fp16 rounds, and what that does to explanations depends on the model: give a folder of some "
            f"{ENOUGH} pictures of the kind that it is for",
            settings=("gate_images",),
        )
    return drawn_pictures(folder, "gate_images")
