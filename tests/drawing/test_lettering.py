import numpy as np
import pytest
from PIL import Image, ImageFont

from sise_rt.drawing import lettering
from sise_rt.drawing.lettering import font_for, shortened, wrapped, write

FONT = ImageFont.load_default(20)


def test_what_fits_stays_and_what_does_not_is_shortened():
    assert shortened("tabby", FONT, 500) == "tabby"
    cut = shortened("tabby, tabby cat " * 20, FONT, 200)
    assert cut.startswith("tabby, tabby")
    assert cut.endswith("…")
    assert 150 < FONT.getlength(cut) <= 200
    assert shortened("x" * 10**6, FONT, 10**9) == "x" * 1000
    assert shortened("tabby", FONT, 0) == "…"


def test_sentences_are_wrapped_between_words():
    text = "one two three four five six seven eight nine ten"
    lines = wrapped(text, FONT, 150, 9)
    assert " ".join(lines) == text
    assert all(FONT.getlength(line) <= 150 for line in lines)
    two = wrapped(text, FONT, 150, 2)
    assert two[0] == lines[0]
    assert two[1].endswith("…")
    assert wrapped("short", FONT, 150, 3) == ["short"]
    assert wrapped("", FONT, 150, 3) == [""]
    assert wrapped("x" * 100, FONT, 150, 3)[0].endswith("…")


def test_ascii_is_in_the_same_letters_everywhere(monkeypatch):
    monkeypatch.setattr(lettering, "FONTS", ())
    assert font_for("tabby (281), 0.93", 20).getname() == FONT.getname()
    font_for("猫", 20)  # whatever there is


def test_other_letters_come_from_a_font_that_has_them():
    try:
        ImageFont.truetype("DejaVuSans.ttf", 20)
    except OSError:
        pytest.skip("no font with Cyrillic letters")
    font = font_for("царапина", 20)
    assert len({bytes(font.getmask(letter)) for letter in "царпин"}) == 6  # and not six times a box


def test_writing_stays_within_its_width():
    canvas = Image.new("RGB", (300, 40), (255, 255, 255))
    width = write(canvas, "a long line of words that does not fit", 10, 5, 120, 18)
    inked = np.flatnonzero((np.array(canvas) < 128).any(axis=(0, 2)))
    assert 10 <= inked[0] < 14
    assert 110 < inked[-1] <= 10 + width <= 131
