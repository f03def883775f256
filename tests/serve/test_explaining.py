"""One picture's explanation: what ends the check of it."""

import math
from dataclasses import replace

import pytest

from sise_rt.serve.asked import parse_asked
from sise_rt.serve.explaining import explain_one, read_picture
from sise_rt.serve.settings import Settings
from sise_rt.serve.work import Abandoned, Turn


class Counting:
    """An engine that counts the passes of a check, and does something at one of them."""

    def __init__(self, engine, at=math.inf, event=None):
        self._engine, self._at, self._event = engine, at, event
        self.passes = 0

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def forward(self, images):
        self.passes += 1
        if self.passes == self._at:
            self._event()
        return self._engine.forward(images)


class Explaining:
    """An explainer whose check asks another engine, and that asks one picture at a time."""

    def __init__(self, explainer, engine):
        self._explainer, self.engine = explainer, engine

    def __getattr__(self, name):
        return getattr(self._explainer, name)

    def explain(self, *arguments, **options):
        return replace(self._explainer.explain(*arguments, **options), batch=1)


def checked(model, picture, turn, check, engine):
    asked = parse_asked({"check": check}, model, Settings())
    counted = type(model)("small", Explaining(model.explainer, engine))
    return explain_one(counted, read_picture(model, picture, asked, 10**6), asked, turn)


@pytest.mark.parametrize("check", ["region", "all"])
@pytest.mark.parametrize("end", ["stop", "limit"])
def test_a_check_ends_with_its_request_and_leaves_the_map(model, picture, check, end):
    whole = Counting(model.explainer.engine)
    assert checked(model, picture, Turn(), check, whole).explanation.check is not None
    assert whole.passes > 5
    turn = Turn()
    events = {"stop": turn.stop, "limit": lambda: turn.limit(-1.0)}
    engine = Counting(model.explainer.engine, 3, events[end])
    answer = checked(model, picture, turn, check, engine)
    assert engine.passes == 3
    assert (answer.explanation.check, answer.explanation.partial) == (None, False)
    assert not answer.curves


def test_a_check_ends_where_nobody_waits_for_it(model, picture):
    turn = Turn()
    engine = Counting(model.explainer.engine, 3, turn.abandon)
    with pytest.raises(Abandoned):
        checked(model, picture, turn, "all", engine)
    assert engine.passes == 3
