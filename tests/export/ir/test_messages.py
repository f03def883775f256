"""The gist of foreign exceptions."""

import pytest
from sise_rt.export.ir.messages import described, gist

from sise_rt.errors import ModelError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one\ntwo", "one"),
        ("\n  \n two", " two"),
        ("", "ValueError"),
        ("\x1b[96mcoloured\x1b[0m words", "coloured words"),
        ("x" * 400, "x" * 300),
        ("[ONNXRuntimeError] : 1 : FAIL : Node () Op (Gemm) mismatch", "Node () Op (Gemm) mismatch"),
        (
            "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned while running "
            "Conv node. Name:'c1' Status Message: Invalid input shape: {3,3}",
            "node 'c1' (Conv): Invalid input shape: {3,3}",
        ),
    ],
)
def test_the_first_line_that_says_something(text, said):
    assert gist(ValueError(text)) == said


def caused(error, cause):
    error.__cause__ = cause
    return error


def test_the_cause_says_more_than_its_consequence():
    assert gist(caused(RuntimeError("Step 3 of 3 failed"), KeyError("weight"))) == "'weight'"


def test_words_of_this_package_stand():
    error = caused(ModelError("weight 'w' is damaged"), KeyError("weight"))
    assert gist(error) == "weight 'w' is damaged"


def test_described():
    assert described((None, 3, "h", 8)) == "(?, 3, h, 8)"


def test_settings_are_left_to_whoever_raises_it_again():
    assert gist(ModelError("too large", settings=("input_size",))) == "too large"
