"""What an explanation is saved as, and that nothing is replaced but an earlier result of the same thing."""

from __future__ import annotations

import glob
import io
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .drawing.png import encode_png
from .errors import ArgumentError, OutputError
from .files import make_folder, write_whole

if TYPE_CHECKING:
    from .explanation import Explanation

METHODS_SUFFIX = ".methods.png"  # of several methods side by side
COMPARE_SUFFIX = ".compare.png"  # of two targets
SUFFIXES = (".png", ".npy", ".json", ".blocks.png", ".html")
ENDINGS = (METHODS_SUFFIX, COMPARE_SUFFIX, ".blocks.png", ".png", ".npy", ".json", ".html")


class Result(NamedTuple):
    """What a record is the record of. All but the settings tell whose result it is.

    Attributes:
        picture: its name.
        model: the bundle's name.
        target: `index` and `label`.
        method: its name.
        settings: of the method.
    """

    picture: Any
    model: Any
    target: Any
    method: Any
    settings: Mapping[str, Any]


SAME = Result._fields[:-1]


def base_name(stem: str, target: int, label: str = "") -> str:
    """What the files of a result are called, without a suffix: `cat.281`, `cat.281.grad-cam`."""
    return f"{stem}.{target}" + (f".{file_label(label)}" if label else "")


def file_label(text: str) -> str:
    """A method with its options as part of a file name: `sise:mu=0.3` becomes `sise-mu-0.3`."""
    return re.sub(r"[^\w.+-]+", "-", text)


def refuse_foreign(folder: Path, base: str, record: Mapping[str, Any]) -> None:
    """See to it that saving a result replaces nothing but an earlier one of the same picture and target.

    Args:
        folder: where it is saved.
        base: from `base_name`.
        record: of the result that is to be saved.

    Raises:
        OutputError: a file of that name is no result, or one of another picture, model, target or method.
    """
    present = [
        folder / f"{base}{suffix}" for suffix in SUFFIXES if os.path.lexists(folder / f"{base}{suffix}")
    ]
    if not present:
        return
    before, now = read_result(folder / f"{base}.json"), result_of(record)
    if before is None or now is None:
        raise OutputError(
            f"{str(present[0])!r} exists already and is no result of this kind, so it stays as it is: choose "
            "another folder"
        )
    for key in SAME:
        there = getattr(before, key)
        if _plain(key, there) != _plain(key, getattr(now, key)):
            raise OutputError(
                f"{str(present[0])!r} is a result of another {key} ({_told(there)}), so it stays "
                "as it is: choose another folder, or delete it"
            )


def refuse_foreign_files(folder: Path, images: Iterable[Path], targets: Iterable[int]) -> None:
    """Find out before the work whether results of these pictures would replace something else.

    Args:
        folder: where they will be saved.
        images: the pictures.
        targets: class indices that may be explained.

    Raises:
        OutputError: a file that a result may be called like is none, or one of another picture.
    """
    by_stem = {image.stem: image for image in images}
    wanted = {str(target) for target in targets}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        base = next((path.name[: -len(end)] for end in ENDINGS if path.name.endswith(end)), None)
        if base is None or (image := _explained(base, by_stem, wanted)) is None:
            continue
        results = [read_result(path.with_name(f"{base}.json"))]
        if path.name.endswith((METHODS_SUFFIX, COMPARE_SUFFIX)):  # they have the records of what is in them
            target = base[len(image.stem) + 1 :].split(".")[0]
            of_target = glob.escape(f"{image.stem}.{target}")
            results = [read_result(other) for other in folder.glob(f"{of_target}.*json")]
        pictures = {_plain("picture", result.picture) for result in results if result is not None}
        if _plain("picture", str(image)) not in pictures:
            raise OutputError(
                f"{str(path)!r} exists already and is no result of {image}, which could replace it: choose "
                "another folder",
                settings=("out",),
            )


def _explained(base: str, by_stem: Mapping[str, Path], targets: Collection[str]) -> Path | None:
    """The picture that a result of that name would be of; None if it is no such name."""
    for stem, image in by_stem.items():
        if base.startswith(f"{stem}.") and base[len(stem) + 1 :].split(".")[0] in targets:
            return image
    return None


def other_settings(folder: Path, base: str, settings: Mapping[str, Any]) -> list[str]:
    """What settings an earlier result of that name had, where they differ from these: `mu 0.3`."""
    before = read_result(folder / f"{base}.json")
    if before is None:
        return []
    there = before.settings
    return [f"{name} {there[name]}" for name in settings if name in there and there[name] != settings[name]]


def read_result(path: Path) -> Result | None:
    """What an earlier result is of, by its record; None for a file that is none."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):  # ValueError: no JSON, or no UTF-8
        return None
    return result_of(record)


def result_of(record: Any) -> Result | None:
    """What a record is of, also one of an earlier release; None of anything else."""
    match record:
        case {
            "schema": str(),
            "picture": {"name": picture},
            "bundle": {"name": model},
            "target": target,
            "method": method,
            "settings": dict() as settings,
        }:
            return Result(picture, model, target, method, settings)
        case {"image": picture, "model": model, "target": target, "method": method}:
            return Result(picture, model, target, method, record)  # in which settings lay flat
    return None


def _plain(key: str, value: Any) -> Any:
    """A picture by where it lies, as far as its name tells that."""
    return os.path.abspath(value) if key == "picture" and isinstance(value, str) else value


def _told(value: Any) -> str:
    return str(value.get("label", value) if isinstance(value, dict) else value)


def write_explanation(
    explanation: Explanation,
    folder: Path,
    picture: Any,
    stem: str | None,
    *,
    label: str,
    blocks: bool,
    report: bool,
    draw: Callable[[Explanation, Any], bytes],
) -> list[Path]:
    """Write an explanation; arguments, result and errors are those of `Explanation.save`."""
    picture = explanation.picture if picture is None else picture
    if (blocks or report) and picture is None:
        raise no_picture(explanation)
    base = base_name(Path(explanation.name).stem if stem is None else stem, explanation.target, label)
    record = explanation.record()
    refuse_foreign(folder, base, record)
    shown = None if picture is None else explanation.pixels(picture)
    array = io.BytesIO()
    np.save(array, explanation.map, allow_pickle=False)
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    # File names may hold bytes that are no UTF-8; JSON writes such a character as Python does.
    contents = {".npy": array.getvalue(), ".json": text.encode("utf-8", "backslashreplace")}
    make_folder(folder, settings=("folder",))
    _write(folder, base, contents)
    drawings = {}
    if shown is not None:
        drawings[".png"] = draw(explanation, shown)
        if blocks:
            drawings[".blocks.png"] = encode_png(explanation.strip(shown))
        if report:
            drawings[".html"] = explanation.html(shown).encode("utf-8")
    _write(folder, base, drawings)
    return [folder / f"{base}{suffix}" for suffix in SUFFIXES if suffix in contents | drawings]


def _write(folder: Path, base: str, contents: dict[str, bytes]) -> None:
    for suffix, data in contents.items():
        write_whole(folder / f"{base}{suffix}", data)


def no_picture(explanation: Explanation) -> ArgumentError:
    """What is raised where an explanation is to be drawn that does not hold its picture any more."""
    return ArgumentError(
        f"the explanation of {explanation.name} does not hold its picture any more: give it as well",
        settings=("picture",),
    )
