"""Words around a painted picture: a caption above, what the colours mean and notes below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from PIL import Image, ImageDraw

from .lettering import INK, font_for, shortened, wrapped, write

PAPER, FRAME, DARK_FRAME = (255, 255, 255), (205, 205, 205), (30, 30, 30)
LETTERS = 28  # of the height of a letter fit into the picture
LEAST_TEXT = 15  # pixels
LEAST_OF_WIDTH = 100  # of a letter's height fit into the width of a flat picture
LEAST_WIDTH = 20  # times the height of a letter, of the whole: a narrow picture has a caption too
HEADLINE, LINE = 1.45, 1.4  # times the height of a letter
MOST_LINES = 3  # that a sentence is wrapped into
BAR_SHARE = 0.45  # of the width that the colour bar takes


@dataclass(frozen=True)
class Caption:
    """What stands above a drawing.

    Attributes:
        subject: the class, which is shortened where the line is too long.
        value: what follows it on the line, as the confidence.
        lines: sentences below, wrapped.
    """

    subject: str
    value: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scale:
    """What the colours of a drawing mean.

    Attributes:
        ramp: uint8 RGB (256, 3), from the lowest value to the highest, as they look in the drawing.
        low: what the lowest means, in words.
        high: what the highest means.
    """

    ramp: np.ndarray
    low: str
    high: str


def text_size(size: tuple[int, int]) -> int:
    """Pixels of a letter that is as easy to read on small drawings as on large ones."""
    height, width = size
    return max(LEAST_TEXT, round(min(sqrt(height * width), width) / LETTERS), width // LEAST_OF_WIDTH)


def framed(
    painted: np.ndarray, caption: Caption, notes: Sequence[str], text: int, scale: Scale | None = None
) -> np.ndarray:
    """A painted picture with words around it, on white.

    Args:
        painted: uint8 RGB (H, W, 3); it stays as it is, in the middle.
        caption: what stands above.
        notes: sentences below, wrapped.
        text: pixels of a letter.
        scale: what the colours mean, below the picture; None for none.

    Returns:
        uint8 RGB.
    """
    height, width = painted.shape[:2]
    margin, line, head = text, round(LINE * text), round(HEADLINE * text)
    inner = max(width, LEAST_WIDTH * text)
    above, below = (_rows(sentences, inner, text) for sentences in (caption.lines, notes))
    first = margin + round(LINE * head)
    top = first + len(above) * line + text // 2
    bottom = top + height + text // 2
    rows = len(below) + (scale is not None)
    canvas = Image.new("RGB", (inner + 2 * margin, bottom + rows * line + margin // 2), PAPER)
    _write_headline(canvas, caption, margin, inner, head)
    for index, row in enumerate(above):
        write(canvas, row, margin, first + index * line, inner, text)
    left = margin + (inner - width) // 2
    ImageDraw.Draw(canvas).rectangle((left - 1, top - 1, left + width, top + height), outline=FRAME)
    canvas.paste(Image.fromarray(painted), (left, top))
    if scale is not None:
        _draw_scale(canvas, scale, margin, bottom, inner, text)
        bottom += line
    for index, row in enumerate(below):
        write(canvas, row, margin, bottom + index * line, inner, text)
    return np.array(canvas)


def _rows(sentences: Sequence[str], width: int, text: int) -> list[str]:
    return [row for each in sentences for row in wrapped(each, font_for(each, text), width, MOST_LINES)]


def _write_headline(canvas: Image.Image, caption: Caption, margin: int, width: int, size: int) -> None:
    """The subject and the value behind it, smaller if need be; then the subject is shortened."""
    whole = font_for(caption.subject, size).getlength(caption.subject)
    whole += font_for(caption.value, size).getlength(caption.value)
    size = max(round(size / HEADLINE), min(size, int(size * width / max(1, whole))))
    value_font, subject_font = font_for(caption.value, size), font_for(caption.subject, size)
    subject = shortened(caption.subject, subject_font, width - value_font.getlength(caption.value))
    draw = ImageDraw.Draw(canvas)
    # The two may be in different fonts: on one baseline.
    draw.text((margin, margin + size), subject, fill=INK, font=subject_font, anchor="ls")
    behind = margin + subject_font.getlength(subject)
    draw.text((behind, margin + size), caption.value, fill=INK, font=value_font, anchor="ls")


def _draw_scale(canvas: Image.Image, scale: Scale, left: int, top: int, width: int, text: int) -> None:
    """The colours in a row between what their ends mean."""
    gap, lengths = text // 2, [font_for(end, text).getlength(end) for end in (scale.low, scale.high)]
    bar = max(3 * text, min(round(BAR_SHARE * width), round(width - sum(lengths)) - 2 * gap))
    words = (width - bar - 2 * gap) // 2  # for each end, where both are long
    if sum(lengths) > 2 * words:
        lengths = [min(length, words) for length in lengths]
    left += write(canvas, scale.low, left, top, max(round(lengths[0]) + 1, words), text) + gap
    at = np.rint(np.linspace(0, len(scale.ramp) - 1, bar)).astype(int)
    canvas.paste(Image.fromarray(np.tile(scale.ramp[at][None], (text, 1, 1))), (left, top))
    ImageDraw.Draw(canvas).rectangle((left - 1, top - 1, left + bar, top + text), outline=DARK_FRAME)
    left += bar + gap
    write(canvas, scale.high, left, top, max(1, canvas.width - left), text)
