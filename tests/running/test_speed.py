"""What a masked copy takes on several engines, in turns."""

import sise_rt
from sise_rt.running import speed
from sise_rt.running.speed import milliseconds


def test_engines_take_turns_and_the_median_counts(monkeypatch):
    turns = []

    def once(engine):
        turns.append(engine)
        return {"a": 1, "b": 2}[engine] * len(turns) / 1000

    monkeypatch.setattr(speed, "_once", once)
    assert milliseconds({"one": "a", "other": "b"}, rounds=3) == {"one": 7.0, "other": 16.0}
    assert turns == ["a", "b"] * 5


def test_a_bundle_is_timed(small_bundle):
    engines = {threads: sise_rt.load(small_bundle, "cpu", threads).engine for threads in (1, 2)}
    taken = milliseconds(engines, rounds=2)
    assert taken.keys() == {1, 2}
    assert min(taken.values()) > 0
