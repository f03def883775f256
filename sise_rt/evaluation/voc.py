"""PASCAL VOC's layout: an .xml for each picture."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from sise_rt.pictures.reading import PICTURES

from .samples import (
    MAX_ANNOTATION,
    Box,
    Dataset,
    Files,
    Problem,
    Truth,
    number,
    read_limited,
    side,
)

PICTURE_FOLDERS = ("JPEGImages", "IMAGES", "images", "Images", "data")
SEGMENTATIONS = "Segmentation"
"""How the folders of masks begin."""
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(files: Files, dataset: Dataset, _: Path | None) -> None:
    """PASCAL VOC: pictures, and an .xml for each with boxes, whose corners are pixels counted from 1."""
    annotations = files.ending(".xml")
    pictures = _pictures(files)
    present: dict[str, dict[str, Truth | None]] = {}
    broken: set[str] = set()
    for path in annotations:
        name, truths, fault = "", dict[str, Truth](), ""
        try:
            root = _root(read_limited(files.folder / path, MAX_ANNOTATION))
            name = (root.findtext("filename") or "").strip()
            truths = _truths(root)
        except ValueError as error:
            fault = str(error)[:300]
        image = _picture_of(path, name, files, pictures)
        if fault:
            dataset.problems.append(
                Problem("broken annotation", f"{image}: {path}" if image else path, fault)
            )
            broken.update(filter(None, [image]))
        elif image is None:
            dataset.problems.append(
                Problem("annotation without image", path, f"it names {name or 'none'}"[:300])
            )
        elif image in present:
            dataset.problems.append(Problem("broken annotation", path, f"{image} has one already"))
        else:
            present[image] = dict(truths)
            if not truths:
                dataset.problems.append(Problem("image without annotation", image, f"{path} has no object"))
    dataset.add(present, (path for path in pictures if path not in broken))


def _pictures(files: Files) -> dict[str, None]:
    """Paths below picture folders, or all where there is no such folder; never VOC's segmentations."""
    folders = {path: PurePosixPath(path).parts[:-1] for path in files.pictures()}
    photos = {p: f for p, f in folders.items() if not any(part.startswith(SEGMENTATIONS) for part in f)}
    named = tuple({f"{'/'.join(f)}/" for f in photos.values() if f and f[-1] in PICTURE_FOLDERS})
    return dict.fromkeys(path for path in photos if not named or path.startswith(named))


def _picture_of(path: str, name: str, files: Files, pictures: Collection[str]) -> str | None:
    """By the annotation's own name, for which a wrong <filename> is common; else by what it says."""
    stem = PurePosixPath(path).stem
    for candidate in (*(f"{stem}{suffix}" for suffix in _suffixes()), name):
        if candidate and (image := files.find(candidate, pictures)):
            return image
    return None


def _suffixes() -> Iterable[str]:
    return (variant for suffix in PICTURES for variant in (suffix, suffix.upper()))


def _root(content: bytes) -> Any:
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    try:
        return fromstring(content)
    except ParseError as error:
        raise ValueError(f"it is no XML: {error}") from error
    except DefusedXmlException as error:
        raise ValueError("it declares entities, which are not read") from error
    except (ValueError, LookupError) as error:
        raise ValueError("it is in an encoding that cannot be read: write it in UTF-8") from error


def _truths(root: Any) -> dict[str, Truth]:
    width, height = (side(root.findtext(f"size/{name}")) for name in ("width", "height"))
    size = (height, width) if width and height else None
    boxes: dict[str, list[Box]] = {}
    easy: set[str] = set()
    for item in root.iter("object"):
        label = (item.findtext("name") or "").strip()
        corners = [item.findtext(f"bndbox/{name}") for name in CORNERS]
        if not label:
            raise ValueError("an object has no name")
        if None in corners:
            raise ValueError(f"{label} has no bndbox with {', '.join(CORNERS)}")
        try:
            left, top, right, bottom = map(number, corners)
        except ValueError as error:
            raise ValueError(f"the bndbox of {label}: {error}") from error
        boxes.setdefault(label, []).append((left - 1, top - 1, right, bottom))
        if (item.findtext("difficult") or "0").strip() != "1":
            easy.add(label)
    return {
        label: Truth(boxes=tuple(edges), size=size, difficult=label not in easy)
        for label, edges in boxes.items()
    }
