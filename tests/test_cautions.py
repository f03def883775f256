"""Cautions: strings with a code, and a table that tells all codes."""

import ast
import copy
import json
import pickle
import re
from pathlib import Path

import pytest

from sise_rt.cautions import CAUTIONS, Caution

PACKAGE = Path(__file__).resolve().parents[1] / "sise_rt"


def written_codes() -> set[str]:
    """The codes of the package's calls of `Caution`."""
    calls = [
        node
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Caution"
    ]
    return {call.args[0].value for call in calls}


def test_the_table_tells_every_code_that_is_used_and_no_other():
    assert written_codes() == set(CAUTIONS)


@pytest.mark.parametrize("code", CAUTIONS)
def test_codes_are_words_and_meanings_sentences(code):
    assert re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", code)
    assert re.fullmatch("(?:[A-Z]|bfloat16).*\\.", CAUTIONS[code])


@pytest.mark.parametrize("passed", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_a_caution_is_its_text_and_keeps_its_code(passed):
    caution = passed(Caution("cropped", "the model sees 20% of the picture"))
    assert caution == "the model sees 20% of the picture"
    assert caution.code == "cropped"
    assert json.loads(json.dumps([caution])) == [str(caution)]
    assert caution.record() == {"code": "cropped", "message": str(caution)}
