"""What an evaluation says while it works."""

import sys

import pytest

from sise_rt.commands import evaluation_results
from sise_rt.commands.evaluation_results import progress_of_images


@pytest.fixture
def clock(monkeypatch):
    """What time it is, which the test sets."""
    now = [100.0]
    monkeypatch.setattr(evaluation_results.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_has_a_line_with_the_time_that_this_run_still_takes(clock, monkeypatch, capsys):
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress_of_images(quiet=False) as show:
        show(90, 100, "a.png")  # an earlier run did the others
        clock[0] += 5
        show(95, 100, "b.png")
        show(100, 100, "")
    lines = capsys.readouterr().err.split("\r\x1b[K")[1:]
    assert lines == ["91 of 100, a.png", "96 of 100, b.png, 5 s left", "", ""]


def test_a_log_has_a_line_now_and_then(clock, capsys):
    with progress_of_images(quiet=False) as show:
        for done in range(100):
            show(done, 100, "a.png")
            clock[0] += 1
        show(100, 100, "")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"{done} of 100 images" for done in (0, 20, 40, 60, 80, 100)]


def test_quiet_is_quiet():
    with progress_of_images(quiet=True) as show:
        assert show is None
