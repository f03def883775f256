"""A run in figures, whatever became of its items."""

import pytest

from sise_rt.bulk.overview.rows import row_of
from sise_rt.bulk.overview.tally import closing, tally_of


def test_items_and_lines(line):
    lines = [
        line("a", truth="pit"),
        line("b", part=[1, 2], confidence=0.31),
        line("b", "no evidence", part=[2, 2]),
        line("c", "failed"),
        line("d", "skipped", reason="right", predicted={"index": 1, "label": "scratch", "confidence": 0.4}),
        line("e", truth=1),
    ]
    tally = tally_of(lines)
    assert tally.items == 5
    assert tally.lines == 6
    assert tally.statuses == {"done": 3, "failed": 1, "skipped": 1}
    assert tally.truth == {True: 1, False: 1}
    assert tally.predicted == {"pit (2)": 3, "scratch (1)": 1}
    assert tally.explained == {"pit (2)": 3}
    assert tally.failures["ImageError"].first == ["c"]
    assert tally.skipped == {"right": 1}
    assert sum(tally.confidences) == sum(tally.borders) == 3
    assert tally.confidences[6] == 1  # 0.31 of 20 bins
    assert tally.times[0] == tally.times[1] == lines[0]["time"]


def test_shared_seconds_count_once(line):
    seconds = {"shared": {"features": 3.0}, "own": {"scoring": 1.0, "fusion": 0.5}}
    lines = [line("a", part=[part, 2], seconds=seconds) for part in (1, 2)]
    assert tally_of(lines).seconds == pytest.approx(3 + 2 * 1.5)


@pytest.mark.parametrize(("value", "at"), [(0, 0), (0.05, 1), (0.9999, 19), (1, 19)])
def test_bins(line, value, at):
    assert tally_of([line("a", confidence=value)]).confidences[at] == 1


def test_an_output_is_no_confidence(line):
    tally = tally_of([line("a", confidence=-37.2, activation="none")])
    assert sum(tally.confidences) == 0
    row = row_of(line("a", confidence=-37.2, activation="none"))
    assert row.said == "output −37.2"
    assert row.confidence is None


@pytest.mark.parametrize(
    ("truth", "right"),
    [("pit", True), ("2", True), (2, True), (1, False), ("Pit", False), ("", False), (None, None)],
)
def test_truths(line, truth, right):
    assert row_of(line("a", truth=truth)).right is right


def test_an_empty_run():
    tally = tally_of([])
    assert closing(tally) == ["0 items: none done"]
    assert tally.times == ("", "")


def test_what_is_said_at_the_end(line):
    codes = [{"code": "map-at-border", "message": "much"}]
    heeded = line("0", warnings=codes, truth="pit")
    lines = [heeded | {"id": f"{n}", "truth": "scratch" if n < 3 else "pit"} for n in range(1200)]
    lines += [line(f"bad\n{n}", "failed") for n in range(7)]
    lines += [line("t", "failed", error={"kind": "TargetError", "message": "no such class"})]
    lines += [line("s", "skipped")]
    assert closing(tally_of(lines)) == [
        "1,209 items: 1,200 done, 8 failed, 1 skipped",
        "the model is wrong in 3 of 1,200 with a truth",
        "failed, ImageError: bad\\n0, bad\\n1, bad\\n2, bad\\n3, bad\\n4 and 2 more",
        "failed, TargetError: t",
        "skipped, the model is right: 1",
        "warnings: map-at-border 1,200",
    ]
    assert closing(tally_of(lines[:1]))[0] == "1 item: 1 done"
