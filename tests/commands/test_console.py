"""What is said where, in which colours."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import sise_rt
from sise_rt.cautions import CAUTIONS, Caution
from sise_rt.commands import console
from sise_rt.commands.console import complain, warn


@pytest.fixture
def terminal(monkeypatch, capsys):
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True)  # of standard output as well
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return monkeypatch


def test_only_the_word_is_coloured(terminal, capsys):
    complain("no such file")
    warn("odd outputs")
    warn("odd outputs", err=False)
    odd = "\x1b[33mwarning:\x1b[0m odd outputs\n"
    assert capsys.readouterr() == (odd, f"\x1b[31merror:\x1b[0m no such file\n{odd}")


@pytest.mark.parametrize(
    ("name", "value", "coloured"),
    [("NO_COLOR", "1", False), ("NO_COLOR", "", True), ("TERM", "dumb", False), ("TERM", "vt100", True)],
)
def test_colours_where_nobody_minds(terminal, capsys, name, value, coloured):
    terminal.setenv(name, value)
    complain("no such file")
    assert ("\x1b" in capsys.readouterr().err) is coloured


def test_no_colours_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    complain("no such file")
    warn("odd outputs")
    assert capsys.readouterr() == ("", "error: no such file\nwarning: odd outputs\n")


def test_a_message_does_nothing_to_a_terminal(terminal, capsys):
    warn("odd \x1b[2J name")
    complain("two\nlines")
    assert capsys.readouterr().err.splitlines() == [
        "\x1b[33mwarning:\x1b[0m odd \\x1b[2J name",
        "\x1b[31merror:\x1b[0m two lines",
    ]


def test_a_caution_leads_to_the_command_that_helps(small_bundle):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    told = sise_rt.load(small_bundle, "cpu", 1).explain(noise, method="score-cam")
    cautions = Caution("sure-of-nothing", "of nothing"), Caution("cropped", "in part")
    lines = console.summary(replace(told, warnings=cautions), "a.png", Path("a.png"))
    assert lines[-2:] == ["  note: of nothing: see sise-rt accuracy", "  note: in part"]
    assert set(console.HINTS) <= set(CAUTIONS)
