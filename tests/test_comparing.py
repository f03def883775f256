"""Several explanations of one picture in one drawing."""

from dataclasses import replace

import numpy as np
import pytest

import sise_rt
from sise_rt import comparing
from sise_rt.comparing import compare, side_by_side


@pytest.fixture(scope="module")
def two(small_bundle):
    picture = np.random.default_rng(3).integers(0, 256, (40, 40, 3), np.uint8)
    return sise_rt.load(small_bundle, "cpu").explain_targets(picture, [1, 3], batch_size=4)


def test_two_classes_are_compared_by_their_raw_maps(two, monkeypatch):
    first, second = two
    given = {}
    monkeypatch.setattr(comparing, "contrast", lambda *arguments, **look: given.update(it=arguments, **look))
    compare(first, second, size=300, palette="viridis", outline=0.4)
    picture, raw, placement, caption, classes = given["it"]
    assert np.array_equal(picture, first.picture.pixels)
    assert raw[0] is first.raw
    assert raw[1] is second.raw
    assert placement is first.placement
    assert caption.subject == "Why b (1) and not d (3)?"
    assert [one.subject for one in classes] == ["b", "d"]
    assert classes[1].value == f" (3), {second.said(second.confidence)}"
    assert (given["size"], given["palette"], given["outline"]) == (300, "viridis", 0.4)


def test_a_comparison_is_a_picture(two):
    made = compare(*two)
    assert made.dtype == np.uint8
    assert made.shape[1] > 3 * 512
    gone = [replace(each, picture=None) for each in two]
    assert np.array_equal(compare(*gone, two[0].picture), made)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"name": "other.jpg"}, "the same name"),
        ({"model": "other"}, "the same model"),
        ({"method": "rise"}, "the same method"),
        ({"settings": {"mu": 0.5}}, "the same settings"),
        ({"target": 1}, "two classes"),
    ],
)
def test_what_does_not_belong_together_is_not_compared(two, changes, what):
    with pytest.raises(sise_rt.ArgumentError, match=what):
        compare(two[0], replace(two[1], **changes))


def test_several_methods_stand_side_by_side(two):
    made = side_by_side({"a": two[0], "b": None, "c": two[0]})
    assert made.shape[1] > 4 * 240
