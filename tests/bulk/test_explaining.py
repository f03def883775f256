"""Items through the model: each comes to one end, whatever the others come to."""

from contextlib import contextmanager

import cv2
import numpy as np
import pytest

import sise_rt
from sise_rt.bulk import explaining
from sise_rt.bulk.explaining import Asked, explain_items, outcome_of
from sise_rt.bulk.items import Item
from sise_rt.bulk.lines import lines_of
from sise_rt.errors import BundleError, ImageError, ModelError, NoEvidence, OutputError, TargetError
from sise_rt.methods import parse
from sise_rt.metrics.check import check_region

QUICK = (parse("grad-cam"),)


@pytest.fixture(scope="module")
def explainer(small_bundle):
    return sise_rt.load(small_bundle, "cpu")


def pixels(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (32, 40, 3), np.uint8)


def item(name, picture=None, **about):
    return Item(name, pixels(len(name)) if picture is None else picture, name, **about)


def ends(explainer, items, asked=None, keep=lambda outcome: outcome, **options):
    """What was told of each item, in the order of telling."""
    told = []
    asked = asked or Asked(requests=QUICK)
    explain_items(explainer, items, asked, keep, lambda item, kept: told.append((item.id, kept)), **options)
    return told


def test_each_item_comes_to_its_own_end(explainer, tmp_path):
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), pixels())
    items = [
        item("path", picture, targets=("a", 2)),
        item("bytes", picture.read_bytes()),
        item("gone", tmp_path / "gone.png"),
        item("known bad", problem=ImageError("line 7 names no picture")),
        item("no class", targets=("zebra",)),
        item("array"),
    ]
    told = ends(explainer, iter(items))
    assert [(name, outcome.status) for name, outcome in told] == [
        ("path", "done"),
        ("bytes", "done"),
        ("gone", "failed"),
        ("known bad", "failed"),
        ("no class", "failed"),
        ("array", "done"),
    ]
    outcomes = dict(told)
    assert [part.target for _, part in outcomes["path"].parts] == [0, 2]
    assert outcomes["path"].parts[0][1].name == str(picture)
    assert outcomes["bytes"].parts[0][1].name == "bytes"
    assert type(outcomes["no class"].error) is TargetError
    assert outcomes["known bad"].error is items[3].problem
    assert outcomes["gone"].picture is None


def test_an_explanation_is_that_of_the_picture_alone(explainer):
    ((_, outcome),) = ends(
        explainer, [item("x")], Asked(requests=(parse("sise"),), targets=(1,), batch_size=8)
    )
    alone = explainer.explain(pixels(1), 1, batch_size=8)
    assert np.array_equal(outcome.parts[0][1].map, alone.map)


def test_a_class_that_is_named_twice_is_explained_once(explainer):
    ((_, outcome),) = ends(explainer, [item("x", targets=("b", 1, "index:1", "c"))])
    assert [part.target for _, part in outcome.parts] == [1, 2]


def test_two_classes_are_compared_where_two_are_named(explainer):
    asked = Asked(requests=QUICK, top_k=2, two=True)
    items = [item("none"), item("two", targets=("a", "b")), item("one", targets=("a", 0))]
    told = dict(ends(explainer, items, asked))
    assert [len(outcome.parts) for outcome in told.values()] == [2, 2, 0]
    assert str(told["one"].error) == "two classes are compared, and it names 1"


def test_what_keeping_raises_is_the_items_failure_and_is_kept_too(explainer):
    kept = []

    def keep(outcome):
        kept.append((outcome.item.id, outcome.status))
        if outcome.item.id == "b" and outcome.error is None:
            raise OutputError("in use")
        return outcome.status

    assert ends(explainer, [item("a"), item("b"), item("c")], keep=keep) == [
        ("a", "done"),
        ("b", "failed"),
        ("c", "done"),
    ]
    assert kept == [("a", "done"), ("b", "done"), ("b", "failed"), ("c", "done")]


def test_where_not_even_a_failure_can_be_kept_the_run_ends(explainer):
    def keep(outcome):
        raise OutputError("gone")

    with pytest.raises(OutputError, match="gone"):
        ends(explainer, [item("a"), item("b")], keep=keep)


def test_what_the_next_item_would_meet_too_ends_all(explainer):
    def keep(outcome):
        if outcome.item.id == "b":
            raise BundleError("altered")
        told.append(outcome.item.id)

    told = []
    with pytest.raises(BundleError, match="altered"):
        explain_items(explainer, map(item, "abcdef"), Asked(requests=QUICK), keep, lambda *_: None)
    assert told in (["a"], ["a", "c"])  # c was being worked on


def test_a_truth_that_is_no_class_fails_and_is_no_mistake_of_the_model(explainer):
    told = dict(ends(explainer, [item("z", truth="zebra"), item("n", truth=5), item("a", truth="A")]))
    assert {name: outcome.status for name, outcome in told.items()} == {
        "z": "failed",
        "n": "failed",
        "a": "done",
    }
    assert isinstance(told["z"].error, TargetError)
    assert str(told["z"].error).startswith("truth 'zebra' is no label of this model; ")
    assert str(told["n"].error).startswith("truth 5 is out of range: ")


def test_filters_leave_out_what_the_model_knows(explainer):
    best = explainer.confidences(pixels(1))
    right, wrong = "abcde"[best.argmax()], "abcde"[best.argmin()]
    asked = Asked(requests=QUICK, only_wrong=True)
    told = dict(
        ends(
            explainer,
            [
                item("r", truth=right),
                item("w", truth=wrong),
                item("i", truth=int(best.argmin())),
                item("?"),
                item("z", truth="zebra"),
            ],
            asked,
        )
    )
    assert {name: outcome.status for name, outcome in told.items()} == {
        "r": "skipped",
        "w": "done",
        "i": "done",
        "?": "skipped",
        "z": "failed",
    }
    assert told["r"].reason == f"the model is right: {right}"
    assert told["r"].prediction.index == best.argmax()
    assert told["r"].prediction.confidence == pytest.approx(best.max())
    assert told["?"].reason == "its class is not known"
    assert told["?"].prediction is None
    assert str(told["z"].error).startswith("truth 'zebra' is no label of this model; ")
    for below, status in ((best.max() * 0.999, "skipped"), (best.max() * 1.001, "done")):
        asked = Asked(requests=QUICK, below=float(below))
        assert ends(explainer, [item("x")], asked)[0][1].status == status


def test_the_model_is_not_asked_where_nothing_of_it_is_used(explainer, monkeypatch):
    def predict(*_):
        raise AssertionError("a pass")

    monkeypatch.setattr(explaining, "predict", predict)
    for below in (None, 0.5):
        asked = Asked(requests=QUICK, only_wrong=True, below=below)
        ((_, outcome),) = ends(explainer, [item("x")], asked)
        assert (outcome.status, outcome.reason) == ("skipped", "its class is not known")
        (line,) = lines_of(outcome)
        assert (line["predicted"], line["truth"]) == (None, None)


def test_a_map_that_cannot_be_checked_is_there_all_the_same(explainer):
    def check(engine, explanation, picture):
        if explanation.target == 1:
            raise ModelError("not finite")
        return check_region(engine, explanation, picture)

    outcome = outcome_of(
        explainer, item("x"), explainer.prepare(pixels()), Asked(requests=QUICK, targets=(0, 1), check=check)
    )
    (_, first), (_, second) = outcome.parts
    if not isinstance(first, NoEvidence):
        assert first.check["region"]["area"] > 0
    assert isinstance(second, NoEvidence) or second.check is None
    assert len(outcome.unchecked) == (not isinstance(second, NoEvidence))
    assert outcome.status == "done"


def test_a_caller_watches_each_item_and_may_stop_it(explainer):
    seen = []

    @contextmanager
    def watch(one):
        def progress(done, steps):
            seen.append((one.id, done, steps))
            if one.id == "b":
                raise sise_rt.Stop

        yield progress

    asked = Asked(requests=(parse("sise"),), targets=(0,), batch_size=4)
    told = dict(ends(explainer, map(item, "abc"), asked, watch=watch))
    assert {name: outcome.stopped for name, outcome in told.items()} == {"a": False, "b": True, "c": False}
    assert [name for name, *_ in seen if name == "b"] == ["b"]
    assert [done for name, done, steps in seen if name == "a"][-1] == seen[0][2]
    assert told["b"].parts[0][1].partial
