"""The line of progress."""

import sys

import pytest

from sise_rt.commands import progress
from sise_rt.commands.explaining import foretold
from sise_rt.commands.progress import Progress, duration, pace, progress_words, seconds_left, speed


@pytest.fixture
def terminal(monkeypatch, capsys):
    """Standard error as a terminal, and a clock that the test sets; gives both."""
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    return clock


def drawn(capsys):
    """The lines that stood on the terminal, one after the other."""
    return capsys.readouterr().err.split("\r\x1b[K")[1:]


def test_several_pictures_are_numbered_and_the_time_is_that_of_all(terminal, capsys):
    run = Progress(4)
    with run.of("a.png") as show:
        terminal[0] += 0.5
        show(5, 10)
        terminal[0] += 1.5
        show(10, 10)
    with run.of("b.png") as show:
        terminal[0] += 1
        show(4, 8)
    assert drawn(capsys) == [
        "1 of 4, a.png, 50 %",
        "1 of 4, a.png, 100 %, 2.0 s each, 6 s left",
        "",
        "2 of 4, b.png, 50 %, 2.0 s each, 5 s left",
        "",
    ]


def test_a_single_piece_has_no_number(terminal, capsys):
    with Progress().of("a.png") as show:
        terminal[0] += 3
        show(3, 4)
    assert drawn(capsys) == ["a.png, 75 %, 1 s left", ""]


def test_without_a_terminal_long_work_is_foretold_once(terminal, monkeypatch, capsys):
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: False)
    run = Progress(3, foretell=lambda *told: "told {} {} {:.0f}".format(*told))
    with run.of("a.png") as show:
        terminal[0] += 100  # of the first step, which loads what is needed
        show(8, 32)
        terminal[0] += 4
        show(16, 32)
        show(24, 32)
    with run.of("b.png") as show:
        assert show is None
    assert capsys.readouterr().err == "told 32 3 40\n"


def test_without_a_terminal_a_long_run_says_now_and_then_how_far_it_is(terminal, monkeypatch, capsys):
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: False)
    run = Progress(100, every=20)
    for _ in range(42):
        with run.of("a.png"):
            terminal[0] += 0.5 if terminal[0] < 110 else 1.5
    assert capsys.readouterr().err.splitlines() == [
        "27 of 100 pictures, 1.3 a second, 55 s left",
        "41 of 100 pictures, 1.0 s each, 1 min 0 s left",
    ]
    hidden = Progress(100, every=20, hidden=True)
    with hidden.of("a.png"):
        terminal[0] += 100
    with hidden.of("b.png"):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("pieces", "seconds", "words"),
    [(40, 10.0, "4.0 a second"), (3, 61.23, "20.4 s each"), (100_000, 2.0, "50,000 a second")],
)
def test_a_speed_is_a_number_that_people_can_read(pieces, seconds, words):
    assert speed(pieces, seconds) == words
    assert pace(pieces, seconds) == words


def test_the_pace_is_told_once_it_can_be():
    assert pace(0.9, 60) == ""
    assert pace(20, 0.5) == ""


@pytest.mark.parametrize(("seconds", "hidden"), [(1, False), (100, True)])
def test_nothing_is_foretold_of_short_or_quiet_work(terminal, monkeypatch, capsys, seconds, hidden):
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: False)
    with Progress(hidden=hidden, foretell=lambda *_: "told").of("a.png") as show:
        assert (show is None) == hidden
        for done in (8, 16, 24) * (not hidden):
            terminal[0] += seconds
            show(done, 32)
    assert capsys.readouterr().err == ""


def test_the_words_of_what_is_foretold():
    assert foretold("", 487, 1, 61) == "note: 487 masked copies to be scored, about 1 min 1 s left"
    words = "note: 2 pictures, each with 487 masked copies to be scored, about 40 s left; do so"
    assert foretold("do so", 487, 2, 40) == words


def test_a_line_is_not_drawn_more_often_than_anyone_can_read(terminal, capsys):
    with Progress().of("a.png") as show:
        for step in range(1000):
            terminal[0] += 0.001
            show(step, 1000)
    assert 5 <= len(drawn(capsys)) <= 11


def test_the_line_goes_when_the_work_fails(terminal, capsys):
    def fail():
        with Progress().of("a.png") as show:
            show(1, 2)
            raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        fail()
    assert drawn(capsys)[-1] == ""


@pytest.mark.parametrize("why", ["no terminal", "dumb", "hidden", "closed"])
def test_nothing_is_drawn_where_nothing_can_be_or_should_be(terminal, capsys, monkeypatch, why):
    if why == "no terminal":
        monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: False)
    elif why == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    elif why == "closed":
        monkeypatch.setattr(sys, "stderr", None)
    with Progress(hidden=why == "hidden").of("a.png") as show:
        assert show is None
    if why != "hidden":
        progress.clear_line()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "share", "left"), [(10, 0.25, 30), (10, 1, 0), (10, 0, None), (0.5, 0.25, None)]
)
def test_the_time_that_is_left(seconds, share, left):
    assert seconds_left(seconds, share) == left


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (12.4, "12 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (4000, "1 h 6 min")],
)
def test_a_duration_in_two_units(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("arguments", "columns", "words"),
    [
        (("cat.jpg", 3, 20, 0.41, 12.0), 80, "3 of 20, cat.jpg, 41 %, 12 s left"),
        (("cat.jpg", 3, 20, None, 12.0), 80, "3 of 20, cat.jpg, 12 s left"),
        (("cat.jpg", 1, 1, 0.41, None), 80, "cat.jpg, 41 %"),
        (("a/very/long/way/to/cat.jpg", 3, 20, 0.41, 12.0), 40, "3 of 20, .../to/cat.jpg, 41 %, 12 s left"),
        (("cat.jpg", 3, 20, 0.41, 12.0), 10, "3 of 20, ..., 41 %, 12 s left"),
        (("\x1b[2Jcat.jpg", 1, 1, 0.5, None), 80, "\\x1b[2Jcat.jpg, 50 %"),
    ],
)
def test_a_line_of_progress(monkeypatch, arguments, columns, words):
    monkeypatch.setenv("COLUMNS", str(columns + 1))
    assert progress_words(*arguments) == words
