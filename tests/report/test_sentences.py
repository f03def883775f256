"""A record in words."""

import pytest

from sise_rt.methods import METHODS
from sise_rt.report import sentences
from sise_rt.report.sentences import bearing, cut, decision, method, preprocessing, reading, share, trust


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
        f"SISE (Sattarzadeh et al., AAAI 2021), exact: every one of {explanation.masks} masks was scored. A "
        "feature map made a mask where its gradient score is positive."
    )
    fast = explainer.explain(explanation.picture, preset="fast")
    of_all = f"{fast.masks} of {explanation.masks} masks were scored"
    assert f", fast: {of_all}, and what the model would say to the other {fast.guessed}" in method(
        fast.record()
    )
    part = explainer.explain(explanation.picture, budget=0.3, mu=0.2)
    assert ", in part: " in method(part.record())
    assert "above 0.2 times the highest of its block" in method(part.record())
    assert "30 % of the masks were allowed." in method(part.record())
    gradients = method(explainer.explain(explanation.picture, method="grad-cam").record())
    assert gradients == (
        "Grad-CAM (Selvaraju et al., ICCV 2017) at the last block. 2 pictures went through the network."
    )
    assert "It was ended before it was done." in method(fast.record() | {"partial": True})
    assert method(explanation.record() | {"method": "own", "masks": 0, "settings": {"depth": 3}}).startswith(
        "own. Depth: 3. "
    )


@pytest.mark.parametrize("asked", METHODS.values(), ids=list(METHODS))
def test_every_option_of_every_method_has_words(asked):
    for option in asked.options:
        for value in option.choices or (option.default,):
            text = sentences.setting(option.name, value)
            assert option.name in sentences.SETTINGS
            assert text.endswith(".") or option.off or value == 1


def test_how_to_read_it(explanation):
    record = explanation.record()
    text = reading(record)
    assert f"shown {explanation.masks} copies" in text
    assert "confidence in pit (2)" in text
    assert "hatched" not in text
    crop = record["picture"]["crop"] | {"share": 0.5}
    assert "Dark" not in text
    assert "dark and hatched" in reading(record | {"picture": record["picture"] | {"crop": crop}})
    assert "copies" not in reading(record | {"masks": 0})
    assert "the output in pit (2)" in reading(record | {"masks": 0, "activation": "none"})


REGION = {
    "area": 0.0132,
    "whole": 0.988,
    "hidden": 0.01,
    "alone": 0.9,
    "bears": True,
    "random": {"copies": 8, "seed": 0, "mean": 0.95, "lowest": 0.912, "highest": 0.9999},
}


def test_whether_the_region_bears_the_decision():
    text = bearing(REGION)
    assert text.startswith("The region is 1.3 % of what the model saw. The confidence rests on it")
    assert "8 other places, chosen at random (lowest 0.912, highest above 0.999)" in text
    assert "less than a hundredth of the confidence" in bearing(REGION | {"hidden": 0.985})
    assert "does not rest on it" in bearing(REGION | {"bears": False})
    assert "no other region" in bearing(REGION | {"bears": None, "random": None, "area": 0.0})


PREPROCESSING = {
    "input_size": [3, 224, 224],
    "interpolation": "bicubic",
    "crop_pct": 0.875,
    "crop_mode": "center",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "color": "RGB",
    "scale": 255,
}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {},
            "The picture is resized to 256 pixels on its short side (bicubic), its middle of 224 × 224 cut "
            "out; pixel values divided by 255, less 0.485, 0.456, 0.406, divided by 0.229, 0.224, 0.225; "
            "red, green, blue.",
        ),
        (
            {"crop_mode": "squash", "crop_pct": 1, "mean": [0, 0, 0], "std": [1, 1, 1], "color": "BGR"},
            "The picture is resized to 224 × 224 pixels, whatever its proportions (bicubic); pixel values "
            "divided by 255; blue, green, red.",
        ),
        (
            {
                "input_size": [1, 96, 192],
                "crop_pct": 1,
                "mean": [0.5],
                "std": [0.5],
                "color": "GRAY",
                "scale": 1,
            },
            "The picture is resized to cover 192 × 96 pixels (bicubic), its middle of 192 × 96 cut out; "
            "pixel values as they are, less 0.5, divided by 0.5; grey.",
        ),
        ({"input_size": [5, 8, 8], "mean": [0] * 5, "std": [1] * 5}, "; 5 channels."),
    ],
)
def test_preprocessing(changes, text):
    assert preprocessing(PREPROCESSING | changes).endswith(text)
