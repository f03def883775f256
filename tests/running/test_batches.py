"""Batch sizes: what is kept of the trials, and what a full memory does."""

from types import SimpleNamespace

import pytest

from sise_rt.errors import ModelError, OutOfMemory
from sise_rt.running import batches as module
from sise_rt.running.batches import RUNS, Batches


def work(batches, count, run=lambda part: None):
    """The sizes of the parts, and what was counted as done."""
    parts, done = [], []

    def recorded(part):
        found = run(part)
        parts.append(part.stop - part.start)
        return found

    batches.each(count, recorded, done.append)
    assert parts == done
    return parts


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}, 1),
        ({1: 1.0, 2: 0.7, 4: 0.5, 8: 0.495}, 4),
        ({1: 1.0, 2: 1.1, 4: 0.9, 8: 0.8}, 8),
        ({1: 1.0, 2: 1.1, 4: 1.2, 8: 1.3}, 1),
    ],
    ids=["flat", "a gain must pay", "largest", "smallest"],
)
def test_the_fastest_size_is_found_by_the_work_itself(monkeypatch, seconds, best):
    now = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    first = set()

    def run(part):
        images = part.stop - part.start
        slow = 100 if images not in first else 1  # the first run of a size allocates and tunes
        first.add(images)
        now[0] += slow * images * seconds[images]

    batches = Batches((1, 2, 4, 8))
    sizes = work(batches, RUNS * 15, run)
    assert sizes == [1] * RUNS + [2] * RUNS + [4] * RUNS + [8] * RUNS
    assert batches.size == best
    assert set(work(batches, 3 * best, run)) == {best}
    assert sum(work(Batches((4,)), 10)) == 10


def test_a_smaller_last_part_is_no_trial():
    batches = Batches((4, 8))
    for _ in range(2 * RUNS):
        assert work(batches, 3) == [3]
    assert batches.size == 4


@pytest.mark.parametrize(("fits", "expected"), [(8, [8, 8, 4]), (3, [2] * 10), (1, [1] * 20)])
def test_a_full_memory_halves_the_batch_and_is_said(fits, expected):
    def run(part):
        if part.stop - part.start > fits:
            raise OutOfMemory("full")

    batches = Batches((16,))
    assert work(batches, 20, run) == expected
    assert len(batches.notes) == {8: 1, 3: 3, 1: 4}[fits]
    assert batches.notes[0] == "the device's memory was full at 16 images a pass: went on with 8"
    assert work(batches, 20, run) == expected, "it stays so"


def test_a_size_on_trial_that_does_not_fit_ends_the_trials():
    def run(part):
        if part.stop - part.start > 2:
            raise OutOfMemory("full")

    batches = Batches((1, 2, 4, 8))
    sizes = work(batches, 50, run)
    assert max(sizes) <= 2
    assert sum(sizes) == 50
    assert len(batches.notes) == 1


def test_one_image_has_to_fit_and_other_errors_pass():
    def run(error):
        def fail(_):
            raise error

        return fail

    with pytest.raises(OutOfMemory):
        work(Batches((4,)), 9, run(OutOfMemory("full")))
    with pytest.raises(ModelError, match="broken"):
        work(Batches((4,)), 9, run(ModelError("broken")))
