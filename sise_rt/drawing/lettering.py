"""Lines of text on a picture: a font that has the letters, and lines that fit."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from math import ceil

from PIL import Image, ImageDraw, ImageFont

INK = (40, 40, 40)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Of the system, for letters that Pillow's own font lacks: Latin, Greek and Cyrillic first, then the others.
FONTS = (
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "arial.ttf"),
    *("NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "Arial Unicode.ttf", "msyh.ttc", "meiryo.ttc"),
    *("malgun.ttf", "PingFang.ttc", "NotoSansArabic-Regular.ttf", "NotoSansDevanagari-Regular.ttf"),
)
NOWHERE = "\U0010ffff"  # which no font has: it shows what a font draws for letters that it lacks
LONGEST = 1000  # characters that are looked at


def font_for(text: str, size: int) -> Font:
    """Pillow's own letters, the same on every machine; where it lacks some, the font with most of them."""
    fonts = _fonts(size)
    first = next(fonts)
    if text.isascii():
        return first
    letters = set(text[:LONGEST]) - {" "}
    best, fewest = first, _lacking(first, letters)
    for font in fonts:
        if not fewest:
            break
        if (lacking := _lacking(font, letters)) < fewest:
            best, fewest = font, lacking
    return best


def _fonts(size: int) -> Iterator[Font]:
    yield _own(size)
    for name in FONTS:
        with suppress(OSError):
            yield _of_the_system(name, size)


@lru_cache(maxsize=64)
def _own(size: int) -> Font:
    return ImageFont.load_default(size)


@lru_cache(maxsize=64)
def _of_the_system(name: str, size: int) -> Font:
    return ImageFont.truetype(name, size)


def _lacking(font: Font, letters: set[str]) -> int:
    """How many of the letters a font draws as it draws what it lacks."""
    lacked = bytes(font.getmask(NOWHERE))
    return sum(bytes(font.getmask(letter)) == lacked for letter in letters)


@lru_cache(maxsize=4096)  # the legends of many pictures are the same
def text_width(text: str, font: Font) -> float:
    """How wide a line of text is, in pixels."""
    return font.getlength(text)


def one_line(text: str) -> str:
    """A text without line breaks, and no longer than anything that is drawn."""
    return " ".join(text[:LONGEST].split())


def shortened(text: str, font: Font, width: float) -> str:
    """As much of a text as fits into a width in pixels, with an ellipsis where some is left out."""
    text = one_line(text)
    if text_width(text, font) <= width:
        return text
    fits = bisect_right(range(len(text)), width, key=lambda end: ceil(text_width(text[:end] + "…", font)))
    return text[: max(0, fits - 1)].rstrip() + "…"


def wrapped(text: str, font: Font, width: float, most: int) -> list[str]:
    """A text in at most so many lines that fit into a width in pixels; the last is shortened."""
    words, lines = one_line(text).split(" "), list[str]()
    while words and len(lines) < most - 1:
        taken = 1
        while taken < len(words) and text_width(" ".join(words[: taken + 1]), font) <= width:
            taken += 1
        lines.append(shortened(" ".join(words[:taken]), font, width))
        words = words[taken:]
    return [*lines, shortened(" ".join(words), font, width)] if words else lines


def write(canvas: Image.Image, text: str, left: int, top: int, width: int, size: int) -> int:
    """Write one line in ink, shortened to fit; gives how wide it became."""
    font = font_for(text, size)
    text = shortened(text, font, width)
    ImageDraw.Draw(canvas).text((left, top), text, fill=INK, font=font)
    return ceil(text_width(text, font))
