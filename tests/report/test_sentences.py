"""A record in words."""

import pytest

from sise_rt.methods import METHODS
from sise_rt.report import sentences
from sise_rt.report.sentences import bearing, begun, cut, decision, method, named, reading, share, trust


@pytest.mark.parametrize(
    ("value", "activation", "text"),
    [
        (0.98824, "softmax", "0.988"),
        (0.0, "softmax", "below 0.001"),
        (0.9995, "sigmoid", "above 0.999"),
        (-37.254, "none", "−37.25"),
        (12345.6, "none", "1.235e+04"),
    ],
)
def test_confidences_and_outputs(value, activation, text):
    assert trust(value, activation) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0, "0.0 %"), (0.0004, "less than 0.1 %"), (0.0132, "1.3 %"), (0.5, "50 %"), (1, "100 %")],
)
def test_shares(fraction, text):
    assert share(fraction) == text


def test_a_long_text_keeps_both_ends():
    assert cut("a" * 20, 20) == "a" * 20
    assert cut("begin" + "x" * 90 + "end", 20) == "beginxxxxx…xxxxxxend"
    assert len(cut("x" * 1000, 120)) == 120


def test_what_the_model_decided(explanation):
    record = explanation.record()
    assert decision(record) == "The model decides for pit (2), with a confidence of 0.988."
    other = {"target": {"index": 0, "label": "normal"}, "confidence": 0.0004}
    assert decision(record | other) == (
        "Explained is normal (0), in which the model's confidence is below 0.001. The model decides for "
        "pit (2), with a confidence of 0.988."
    )
    alone = decision(record | {"activation": "sigmoid"})
    assert alone.startswith("The model's confidence that pit (2) is there is 0.988.")
    assert "output for pit (2) is −3.5," in decision(record | {"activation": "none", "confidence": -3.5})
    unnamed = record | {"target": {"index": 2, "label": "2"}}
    assert decision(unnamed) == "The model decides for class 2, with a confidence of 0.988."


def test_how_the_map_was_made(explanation, explainer):
    whole = method(explanation.record())
    assert whole.startswith(
        f"SISE (Sattarzadeh et al., AAAI 2021): all {explanation.masks} masks scored. A "
        "feature map made a mask where its gradient score is positive."
    )
    fast = explainer.explain(explanation.picture, preset="fast")
    of_all = f"{fast.masks} of {explanation.masks} masks scored, the others estimated."
    assert f"AAAI 2021), fast: {of_all} A feature map" in method(fast.record())
    part = explainer.explain(explanation.picture, budget=0.3, mu=0.2)
    assert f"AAAI 2021): {part.masks} of " in method(part.record())
    assert "above 0.2 times the highest of its block" in method(part.record())
    assert "30 % of the masks were allowed." in method(part.record())
    gradients = method(explainer.explain(explanation.picture, method="grad-cam").record())
    assert gradients == (
        "Grad-CAM (Selvaraju et al., ICCV 2017) at the last block. 2 pictures went through the network."
    )
    assert "; stopped before its end. A" in method(fast.record() | {"partial": True})
    assert method(explanation.record() | {"method": "own", "masks": 0, "settings": {"depth": 3}}).startswith(
        "own. Depth: 3. "
    )


@pytest.mark.parametrize("asked", METHODS.values(), ids=list(METHODS))
def test_every_method_and_every_option_has_words(asked):
    assert asked.cited.startswith(f"{asked.title} (")
    assert 0 < len(asked.title) < 30
    for option in asked.options:
        for value in option.choices or (option.default,):
            text = sentences.setting(option.name, value)
            assert option.name in sentences.SETTINGS
            assert text.endswith(".") or value == 1


def test_what_is_off_is_not_told():
    settings = METHODS["sise"].settings({"max_passes": 7})
    assert METHODS["sise"].in_force(settings) == {k: v for k, v in settings.items() if k != "max_seconds"}
    assert METHODS["sise"].in_force({"max_passes": 0, "depth": 3}) == {"depth": 3}
    assert METHODS["rise"].in_force(METHODS["rise"].settings({})) == METHODS["rise"].settings({})


def test_how_to_read_it(explanation):
    record = explanation.record()
    text = reading(record)
    assert f"shown {explanation.masks} copies" in text
    assert "confidence in pit (2)" in text
    assert "hatched" not in text
    crop = record["picture"]["crop"] | {"share": 0.5}
    assert "Dark" not in text
    assert "Small islands have none" in text
    assert "dark and hatched" in reading(record | {"picture": record["picture"] | {"crop": crop}})
    assert "copies" not in reading(record | {"masks": 0})
    assert "the output in pit (2)" in reading(record | {"masks": 0, "activation": "none"})


REGION = {
    "area": 0.0132,
    "whole": 0.988,
    "hidden": 0.01,
    "alone": 0.9,
    "least": 0.01,
    "bears": True,
    "random": {"copies": 8, "seed": 0, "mean": 0.95, "lowest": 0.912, "highest": 0.9999},
}


def judged(record, **region):
    return bearing(record | {"check": {"region": REGION | region}})


def test_whether_the_region_bears_the_decision(explanation):
    record = explanation.record()
    text = judged(record)
    assert text.startswith("The region is 1.3 % of what the model saw. It bears the decision: hiding it ")
    assert "8 other places, chosen at random (lowest 0.912, highest above 0.999)" in text
    spared = judged(record, hidden=0.985, bears=False)
    assert "It does not bear the decision: hiding it takes less than 1 % of the confidence, as" in spared
    other = judged(record, hidden=0.96, bears=False)
    assert "not bear the decision: hiding it takes hardly more confidence than hiding as much in" in other
    assert "no other region" in judged(record, bears=None, random=None, area=0.0)


def test_another_class_is_no_decision(explanation):
    record = explanation.record()
    for other in ({"target": {"index": 0, "label": "normal"}}, {"activation": "sigmoid"}):
        told = judged(record | other)
        assert f"The confidence in {named(**(record | other)['target'])} rests on it: hiding" in told
        assert "decision" not in told
        assert "does not rest on it" in judged(record | other, hidden=0.985, bears=False)


def test_a_region_of_nearly_everything_tells_little(explanation):
    assert judged(explanation.record(), area=0.81).endswith("nearly all that the model saw tells little.")
    assert "tells little" not in judged(explanation.record(), area=0.79)


def test_the_beginning_of_a_text_ends_behind_a_word():
    text = "the confidence is 0.123, and elsewhere 0.062 on average"
    assert begun(text, len(text)) == text
    for most in range(12, len(text)):
        short = begun(text, most)
        assert len(short) <= most
        assert short.endswith("…")
        assert text.startswith(short[:-1])
        assert not text[len(short) - 1].isalnum()
    assert begun("x" * 100, 20) == "x" * 19 + "…"
