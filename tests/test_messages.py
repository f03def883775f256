"""The gist of foreign exceptions."""

import pytest
from sise_rt.export.messages import described, first_line


@pytest.mark.parametrize(
    ("text", "gist"),
    [
        ("one\ntwo", "one"),
        ("\n  \n two", " two"),
        ("", "ValueError"),
        ("\x1b[96mcoloured\x1b[0m words", "coloured words"),
        ("x" * 400, "x" * 300),
    ],
)
def test_first_line(text, gist):
    assert first_line(ValueError(text)) == gist


def test_the_cause_says_more_than_its_consequence():
    try:
        try:
            raise KeyError("weight")
        except KeyError as error:
            raise RuntimeError("Step 3 of 3 failed") from error
    except RuntimeError as error:
        assert first_line(error) == "'weight'"


def test_described():
    assert described((None, 3, "h", 8)) == "(?, 3, h, 8)"
