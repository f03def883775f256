"""What stands over a picture, for explanations of every kind."""

from dataclasses import replace

import numpy as np
import pytest

import sise_rt
from sise_rt.captions import HEEDED, caption_of, provenance, strongest
from sise_rt.cautions import CAUTIONS, Caution
from sise_rt.pictures.placement import Placement, to_original


@pytest.fixture(scope="module")
def explanation(small_bundle):
    picture = np.random.default_rng(3).integers(0, 256, (40, 40, 3), np.uint8)
    return sise_rt.load(small_bundle, "cpu").explain(picture, batch_size=4)


def test_a_decision_is_named_with_its_confidence_and_model(explanation):
    caption = caption_of(replace(explanation, warnings=()))
    label, index = explanation.label, explanation.target
    assert caption.subject == f"Decision: {label}"
    assert caption.value == f" ({index}), {explanation.said(explanation.confidence)}"
    assert caption.lines == (
        f"What mattered most is {strongest(explanation.map, explanation.placement)}.",
        f"Model small, explained by SISE: all {explanation.masks} masks scored.",
    )


def test_another_class_is_no_decision(explanation):
    other = replace(explanation, target=explanation.target + 1, label=str(explanation.target + 1))
    caption = caption_of(other)
    assert caption.subject == f"Explained: class {explanation.target + 1}"
    assert caption.value == f", {explanation.said(explanation.confidence)}"
    decided = f"{explanation.label} ({explanation.target}), {explanation.said(explanation.confidence)}"
    assert caption.lines[0] == f"The model decided for {decided}."


def test_a_map_without_anything_says_so(explanation):
    nothing = replace(explanation, map=np.zeros_like(explanation.map))
    assert caption_of(nothing).lines[0] == "Nothing in this picture stood out."


def test_warnings_that_change_the_meaning_stand_above_the_picture(explanation):
    def lines(*codes):
        warned = replace(explanation, warnings=tuple(Caution(code, "at length") for code in codes))
        return caption_of(warned).lines

    assert lines("fewer-threads", "stopped") == caption_of(replace(explanation, warnings=())).lines
    assert lines("map-at-border", "fewer-threads")[1] == (
        "Warning: much of the map lies along the border, where a network sees its own padding."
    )
    both = lines("map-at-border", "region-not-borne", "bundle", "bundle")[1]
    assert both.startswith("Warning: hiding the marked region takes hardly more confidence")
    assert both.endswith("See the record: 2 other warnings.")
    assert HEEDED.keys() <= CAUTIONS.keys()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"masks": 51, "guessed": 436, "settings": {"budget": 0.1}},
         "SISE, fast: 51 of 487 masks scored, the others estimated"),
        ({"masks": 51, "guessed": 436, "settings": {"budget": 0.2}},
         "SISE: 51 of 487 masks scored, the others estimated"),
        ({"masks": 1, "partial": True}, "SISE: 1 mask scored; stopped before its end"),
        ({"method": "grad-cam", "masks": 0}, "Grad-CAM"),
        ({"method": "own", "masks": 7, "settings": {}}, "own: all 7 masks scored"),
        ({"method": "rise", "masks": 4000, "settings": {}}, "RISE: all 4000 masks scored"),
    ],
)  # fmt: skip
def test_how_the_map_was_made(explanation, changes, said):
    assert provenance(replace(explanation, **changes)) == f"Model small, explained by {said}"


@pytest.mark.parametrize(
    ("row", "column", "place"),
    [(0, 0, "at the middle left"), (3, 3, "in the middle"), (7, 7, "at the middle right"), (3, 7, None)],
)
def test_where_a_map_is_highest_is_told_of_the_picture_and_not_of_its_crop(row, column, place):
    """The middle third of the rows, which to_original places likewise."""
    placement = Placement((240, 80), (24, 8), 8, 0, (8, 8))
    map_ = np.zeros((8, 8), np.float32)
    map_[row, column] = 1
    placed = to_original(map_, placement)[0]
    y, x = (int(np.mean(at)) for at in np.nonzero(placed == placed.max()))
    told = strongest(map_, placement)
    assert told == (place or "at the middle right")
    assert (y // 80, 3 * x // 80) == (1, {"left": 0, "middle": 1, "right": 2}[told.split()[-1]])


def test_nowhere_is_highest_in_a_map_of_zeros():
    assert strongest(np.zeros((4, 4)), Placement((4, 4), (4, 4), 0, 0, (4, 4))) is None
