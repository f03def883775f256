"""The precision of the scores, and the pictures to judge it by, which only the user has."""

from __future__ import annotations

from pathlib import Path

from sise_rt.bundle import PRECISIONS
from sise_rt.errors import ArgumentError
from sise_rt.pictures.reading import PICTURES
from sise_rt.wording import reason

GATE_PICTURES = 20


def gate_pictures(precision: str, folder: str | Path | None) -> list[Path]:
    """The pictures that a lower precision is judged by; none for float32.

    Args:
        precision: one of `PRECISIONS`.
        folder: with its subfolders; at most `GATE_PICTURES` of its pictures are taken, evenly drawn in the
            order of their names.

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
            f"{GATE_PICTURES} pictures of the kind that it is for",
            settings=("gate_images",),
        )
    folder, suffixes = Path(folder), (*PICTURES, ".npy")
    try:
        if not folder.is_dir():
            raise ArgumentError(
                f"{str(folder)!r}: no such folder, where a folder of pictures is needed",
                settings=("gate_images",),
            )
        pictures = sorted(
            path
            for path in folder.rglob("*")
            if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
        )
    except ArgumentError:
        raise
    except (OSError, ValueError) as error:
        raise ArgumentError(
            f"{str(folder)!r} cannot be read: {reason(error)}", settings=("gate_images",)
        ) from error
    if not pictures:
        raise ArgumentError(
            f"{folder} has no pictures: some {GATE_PICTURES} are needed, of the kind that the model is for",
            settings=("gate_images",),
        )
    count = min(len(pictures), GATE_PICTURES)
    return [pictures[i * len(pictures) // count] for i in range(count)]
