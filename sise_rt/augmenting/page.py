"""augment.html: some of the pictures, to be looked at before they train anything; loads and runs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import cv2
import numpy as np

from sise_rt.bulk.items import DONE, FAILED, NO_EVIDENCE, SKIPPED
from sise_rt.drawing.sizes import fit_picture
from sise_rt.pictures.picture import in_rgb
from sise_rt.pictures.raster import in_eight_bits
from sise_rt.pictures.reading import MAX_PIXELS, load_image
from sise_rt.report.elements import data_uri, document, element
from sise_rt.report.sentences import cut, share
from sise_rt.wording import counted, probability

from .labels import RANDOM

SHOWN = 20  # pictures
SIDE = 240  # pixels of their long side
FORM, QUALITY = "webp", (cv2.IMWRITE_WEBP_QUALITY, 80)
NAME, TOLD, FEW = 120, 300, 20  # characters of a name and of a message, and pictures of a kind that are named

ENDS = {
    DONE: "occluded in both ways",
    SKIPPED: "not taken, as the model is wrong: the original alone",
    NO_EVIDENCE: "without evidence: the original alone",
    FAILED: "failed",
}
"""What became of pictures, in words."""


@dataclass(frozen=True)
class Told:
    """What the page tells beside its pictures.

    Attributes:
        model: its name.
        method: what found out what is salient.
        salient: how pictures are labelled whose salient part is hidden, in words.
        settings: of the run.
        max_pixels: larger pictures are not read.
    """

    model: str
    method: str
    salient: str
    settings: Mapping[str, Any]
    max_pixels: int = MAX_PIXELS


def page(folder: Path, lines: Sequence[Mapping[str, Any]], classes: Sequence[str], told: Told) -> bytes:
    """The page of a run, in UTF-8.

    Args:
        folder: of the run.
        lines: of its results, in the order of the data set, which is a fair one: the first are shown.
        classes: what the model's classes are called.
        told: what it tells besides.

    Raises:
        ImageError: a picture of the run cannot be read.
    """
    style = resources.files(__package__).joinpath("page.css").read_text("utf-8")
    done = [line for line in lines if line["status"] == DONE]
    body = element(
        "main",
        element("h1", f"Pictures with parts hidden that matter to {cut(told.model, NAME)}"),
        element("p", _counts(lines), class_="lead"),
        element("p", _reading(told), class_="prose"),
        element("h2", f"{counted(min(SHOWN, len(done)), 'picture')} of {len(done)}"),
        element(
            "ol",
            *(_sample(folder, line, classes, told.max_pixels) for line in done[:SHOWN]),
            class_="samples",
        ),
        *_others(lines),
        element("h2", "Settings"),
        element("dl", *_settings(told.settings)),
    )
    return document("Pictures with parts hidden", style, [body]).encode("utf-8", "backslashreplace")


def _counts(lines: Iterable[Mapping[str, Any]]) -> str:
    counts = Counter(line["status"] for line in lines)
    parts = [f"{counts[status]} {words}" for status, words in ENDS.items() if counts[status]]
    return f"{counted(counts.total(), 'labelled picture')}: {'; '.join(parts)}."


def _reading(told: Told) -> str:
    if told.method == RANDOM:
        return (
            "This is the control: what the second picture shows alone and the third one hides was drawn at "
            "random, and is labelled as if it were what matters to the model."
        )
    return (
        f"What is salient was found by {told.method}. Hidden in the second picture is everything else that "
        f"the model sees: it keeps its label. Hidden in the third is what is salient: {told.salient}. Look "
        "whether the second still shows what the class is, the third shows nothing of it, and whether what "
        "was put in place of hidden pixels could be taken for a feature of its own."
    )


def _sample(folder: Path, line: Mapping[str, Any], classes: Sequence[str], max_pixels: int) -> Element:
    """One picture in its three forms."""
    name, label = cut(line["id"], NAME), cut(classes[line["target"]], NAME)
    captions = ("original", "the rest hidden", f"salient {share(line['area'])} hidden")
    figures = [
        element(
            "figure",
            element(
                "img", src=_small(folder / file, line["bit_depth"], max_pixels), alt=f"{name}: {caption}"
            ),
            element("figcaption", caption),
        )
        for file, caption in zip(line["files"], captions, strict=True)
    ]
    sure = f"confidence {probability(line['confidence'])}"
    wrong = "" if line["predicted"] in line["present"] else f"; the model says {classes[line['predicted']]}"
    return element(
        "li", element("h3", name), element("div", *figures), element("p", f"{label}, {sure}{wrong}")
    )


def _small(path: Path, bits: int, max_pixels: int) -> str:
    """A picture of the run, small, as an address that holds it."""
    rgb = in_rgb(in_eight_bits(load_image(path, max_pixels=max_pixels), bits))
    height, width = rgb.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    small = fit_picture(rgb, (max(1, round(height * scale)), max(1, round(width * scale))))
    _, data = cv2.imencode(f".{FORM}", np.ascontiguousarray(small[..., ::-1]), QUALITY)
    return data_uri(data.tobytes(), FORM)


def _others(lines: Sequence[Mapping[str, Any]]) -> Iterable[Element]:
    """Pictures without augmentation, the first of each kind with why."""
    for status, words in ENDS.items():
        some = [line for line in lines if line["status"] == status]
        if status == DONE or not some:
            continue
        yield element("h2", f"{words[0].upper()}{words[1:]} ({len(some)})")
        told = [f"{cut(line['id'], NAME)}: {cut(line['message'], TOLD)}" for line in some[:FEW]]
        more = [f"and {len(some) - FEW} more"] if len(some) > FEW else []
        yield element("ul", *(element("li", text) for text in [*told, *more]))


def _settings(settings: Mapping[str, Any]) -> Iterable[Element]:
    for key, value in settings.items():
        if value not in (None, {}, []):
            inside = isinstance(value, Mapping)
            text = ", ".join(f"{name} {entry}" for name, entry in value.items()) if inside else str(value)
            yield element("dt", key.replace("_", " "))
            yield element("dd", text)
