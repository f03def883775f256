"""Items in turn, with the next one prepared and the last one finished in a thread beside."""

import threading

import pytest

from sise_rt.bulk.items import FATAL, overlapped
from sise_rt.errors import ModelError, OutOfMemory, SiseError


class Log:
    """What happened, in its order and by which thread; the stages of an item, of which some fail.

    Args:
        failing: (stage, item) to the error that is raised there.
    """

    def __init__(self, failing=()):
        self.events, self.told, self.failing = [], [], dict(failing)

    def note(self, stage, item):
        self.events.append((stage, item, threading.current_thread() is threading.main_thread()))
        if (stage, item) in self.failing:
            raise self.failing[stage, item]

    def prepare(self, item):
        self.note("prepare", item)
        return f"ready {item}"

    def work(self, item, prepared, catch_up):
        ready = prepared()
        self.note("work", item)
        return lambda: self.finish(item, ready)

    def finish(self, item, ready):
        self.note("finish", item)
        return ready, item

    def tell(self, item, result):
        self.note("tell", item)
        self.told.append((item, str(result) if isinstance(result, SiseError) else result))

    def run(self, items):
        overlapped(items, self.prepare, self.work, self.tell)

    def stages(self, stage):
        return [item for kind, item, _ in self.events if kind == stage]


def test_every_item_is_told_once_and_in_order():
    log = Log()
    log.run(iter(range(5)))
    assert log.told == [(i, (f"ready {i}", i)) for i in range(5)]
    assert all(log.stages(stage) == list(range(5)) for stage in ("prepare", "work", "finish", "tell"))
    assert {(kind, here) for kind, _, here in log.events} == {
        ("prepare", False),
        ("work", True),
        ("finish", False),
        ("tell", True),
    }
    Log().run([])


@pytest.mark.parametrize("stage", ["prepare", "work", "finish"])
@pytest.mark.parametrize("item", [0, 1, 2])
def test_an_error_is_its_items_and_the_others_are_done(stage, item):
    log = Log({(stage, item): ModelError("wrong")})
    log.run(range(3))
    assert log.told == [(i, "wrong" if i == item else (f"ready {i}", i)) for i in range(3)]
    assert item not in log.stages("finish") or stage == "finish"


def test_the_next_is_prepared_and_the_last_finished_during_the_work():
    prepared_two, finished_one, seen = threading.Event(), threading.Event(), []

    def prepare(item):
        if item == 2:
            prepared_two.set()
        return item

    def work(item, prepared, catch_up):
        if item == 1:  # a wait that would not end, if either came after the work
            seen.append((prepared_two.wait(30), finished_one.wait(30)))
            while not told:
                catch_up()
        return lambda: finished_one.set() if item == 0 else None

    told = []
    overlapped(range(3), prepare, work, lambda *told_of: told.append(told_of))
    assert seen == [(True, True)]
    assert told == [(0, None), (1, None), (2, None)]


def test_three_are_held_and_no_more():
    held, most, lock = set(), [], threading.Lock()

    def change(add=None, drop=None):
        with lock:
            held.add(add) if add is not None else held.discard(drop)
            most.append(len(held))

    def prepare(item):
        change(add=item)

    def work(item, prepared, catch_up):
        prepared()
        return lambda: change(drop=item)

    overlapped(range(50), prepare, work, lambda *_: None)
    assert max(most) <= 3
    assert not held


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_of_the_work_loses_nothing_that_was_worked_on(stop):
    log = Log({("work", 2): stop()})
    with pytest.raises(stop):
        log.run(range(9))
    assert log.told == [(i, (f"ready {i}", i)) for i in range(2)]
    assert log.stages("prepare") == [0, 1, 2, 3]


@pytest.mark.parametrize("stage", ["prepare", "work", "finish"])
@pytest.mark.parametrize("kind", [*FATAL, TypeError])
def test_what_is_no_items_fault_ends_all(stage, kind):
    log = Log({(stage, 1): kind("fatal")})
    with pytest.raises(kind, match="fatal"):
        log.run(range(9))
    assert log.told[0] == (0, ("ready 0", 0))
    # What was already being worked on when a finish failed is saved and told.
    assert log.told[1:] == ([(2, ("ready 2", 2))] if stage == "finish" else [])


def test_what_is_raised_when_it_is_told_ends_all():
    log = Log({("tell", 1): TypeError("fatal")})
    with pytest.raises(TypeError, match="fatal"):
        log.run(range(9))
    assert log.told == [(0, ("ready 0", 0)), (2, ("ready 2", 2))]


@pytest.mark.parametrize("stage", ["prepare", "work", "finish"])
def test_a_lack_of_memory_is_its_items(stage):
    log, kinds = Log({(stage, 1): MemoryError()}), []
    overlapped(range(3), log.prepare, log.work, lambda item, result: kinds.append(type(result)))
    assert kinds == [tuple, OutOfMemory, tuple]


def test_a_failed_item_is_told_before_the_next_is_worked_on():
    log = Log({("work", 0): ModelError("wrong")})
    log.run(range(2))
    kinds = [(kind, item) for kind, item, _ in log.events]
    assert kinds.index(("tell", 0)) < kinds.index(("work", 1))
