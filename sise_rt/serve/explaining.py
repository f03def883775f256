"""One picture's explanation for a client: read, made and drawn, each step a plain function for a thread."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sise_rt.drawing.drawn import paint
from sise_rt.drawing.png import encode_png
from sise_rt.drawing.sizes import drawn_size
from sise_rt.errors import ArgumentError
from sise_rt.explanation import Explanation
from sise_rt.methods import Preview
from sise_rt.metrics.check import check_region, check_with_curves
from sise_rt.metrics.curves import Curve
from sise_rt.pictures.picture import Picture
from sise_rt.pictures.regions import LEVEL

from .asked import Asked
from .models import Model
from .refusals import Refused
from .work import Turn

BLOCK_SIDE = 320  # pixels of the long side of a block's map
LEAST_SECONDS = 0.001  # that a method is given, so that it scores its first masks

Told = Callable[[int, int], object]


@dataclass(frozen=True)
class Answer:
    """What was found for a request.

    Attributes:
        explanation: with what was checked.
        curves: behind insertion and deletion, where all was checked.
        palette: of what is drawn.
    """

    explanation: Explanation
    curves: Mapping[str, Curve] = field(default_factory=dict)
    palette: str = "inferno"

    def record(self) -> dict[str, Any]:
        """The record, ready for JSON."""
        return self.explanation.record()


def read_picture(model: Model, source: Any, asked: Asked, max_pixels: int) -> Picture:
    """The picture of a request, prepared for its model.

    Args:
        model: that will look at it.
        source: an encoded picture as bytes, or an array (H, W, C); a path is no picture here.
        asked: of the request.
        max_pixels: larger pictures are refused.

    Raises:
        ImageError: it cannot be used.
        ArgumentError: it is neither bytes nor an array.
    """
    if not isinstance(source, (bytes, bytearray, memoryview, np.ndarray)):
        raise ArgumentError("a picture is sent whole: nothing is read for a client", settings=("image",))
    return model.explainer.prepare(source, bit_depth=asked.bit_depth, max_pixels=max_pixels, name=asked.name)


def explain_one(
    model: Model,
    picture: Picture,
    asked: Asked,
    turn: Turn,
    *,
    progress: Told | None = None,
    preview: Preview | None = None,
) -> Answer:
    """Explain a picture as it was asked, within the time that its turn has left.

    Args:
        model: to be explained.
        picture: prepared for it.
        asked: of the request.
        turn: looked at after every pass.
        progress: called with (masks scored, masks to score) after every pass.
        preview: as `Explainer.explain` takes it; left out for methods that have no running map.

    Raises:
        Stop: the client ended it before there was anything to show.
        Abandoned: nobody waits for it any more.
        Refused: the time was over, and the method has nothing to show for what it did.
        SiseError: as `Explainer.explain` does.
    """
    explainer, request = model.explainer, asked.request
    timely = request.method.has("max_seconds")
    if timely:
        own = request.settings["max_seconds"]
        assert isinstance(own, float), "as every method's option of that name"
        if turn.left() < (own or math.inf):
            request = request.having("max_seconds", max(LEAST_SECONDS, turn.left()))

    def ticked(scored: int, total: int) -> None:
        if progress is not None:
            progress(scored, total)
        turn.look()
        if not timely and turn.left() <= 0:
            text = f"{request.method.name} was not done in time, and has no map before: allow more time"
            raise Refused(422, text, "max_seconds")

    explanation = explainer.explain(
        picture,
        asked.target,
        method=request,
        progress=ticked,
        preview=preview if request.method.blocks else None,
    )
    curves: Mapping[str, Curve] = {}
    if asked.check == "all" and not turn.stopped:
        explanation, curves = check_with_curves(explainer.engine, explanation)
    elif asked.check == "region" and not turn.stopped:
        explanation = check_region(explainer.engine, explanation)
    return Answer(explanation, curves, asked.palette)


def png(answer: Answer) -> bytes:
    """The picture to show, with words."""
    return answer.explanation.png(palette=answer.palette)


def painted(answer: Answer) -> bytes:
    """The map over the picture with its line, as large as in the picture to show, without words."""
    explanation = answer.explanation
    return _painted(answer, explanation.map, drawn_size(explanation.placement.original))


def block_painted(answer: Answer, index: int) -> bytes:
    """A block's map over the picture likewise, small; the block has one."""
    explanation = answer.explanation
    map_ = explanation.blocks[index].visualization
    assert map_ is not None
    height, width = explanation.placement.original
    scale = BLOCK_SIDE / max(height, width)
    return _painted(answer, map_, (max(1, round(scale * height)), max(1, round(scale * width))))


def _painted(answer: Answer, map_: np.ndarray, size: tuple[int, int]) -> bytes:
    explanation = answer.explanation
    picture, placement, palette = explanation.pixels(), explanation.placement, answer.palette
    return encode_png(paint(picture, map_, placement, size, outline=LEVEL, palette=palette)[0])


def record_json(answer: Answer) -> bytes:
    """The record."""
    return json.dumps(answer.record(), allow_nan=False).encode()


def npy(answer: Answer) -> bytes:
    """The map, float32 (H, W) in [0, 1], in NumPy's format."""
    file = io.BytesIO()
    np.save(file, answer.explanation.map)
    return file.getvalue()


def page(answer: Answer) -> bytes:
    """The page that stands alone."""
    return answer.explanation.html().encode("utf-8", "replace")


FORMATS: Mapping[str, tuple[str, Callable[[Answer], bytes]]] = {
    "png": ("image/png", png),
    "json": ("application/json", record_json),
    "npy": ("application/x-npy", npy),
    "html": ("text/html; charset=utf-8", page),
}
"""What an answer can be: its media type, and what makes it; the first one unless something else is asked."""
