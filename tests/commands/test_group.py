"""`sise-rt` itself, as somebody meets it who has never used it."""

import re

import pytest

from sise_rt.commands.group import MODULES


def test_alone_it_prints_its_help(sise):
    code, out, err = sise()
    assert (code, out) == (2, "")
    assert err == sise("--help")[1]


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("explan", "error: no command 'explan': did you mean explain?"),
        ("verfiy", "error: no command 'verfiy': did you mean verify?"),
        ("frobnicate", f"error: no command 'frobnicate': there are {', '.join(MODULES)}"),
        ("--nope", "error: No such option"),
    ],
)
def test_what_is_no_command(sise, typed, says):
    code, out, err = sise(typed)
    assert (code, out) == (2, "")
    *usage, last = err.splitlines()
    assert usage == ["Usage: sise-rt [OPTIONS] COMMAND [ARGS]...", "Try 'sise-rt --help' for help.", ""]
    assert last.startswith(says)


@pytest.mark.parametrize("command", ["explain", "export", "inspect", "verify", "evaluate"])
def test_a_command_without_what_it_needs_says_so(sise, command):
    code, out, err = sise(command)
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert lines[0].startswith(f"Usage: sise-rt {command} [OPTIONS]")
    assert lines[1] == f"Try 'sise-rt {command} --help' for help."
    assert lines[-1].startswith("error: Missing ")


def test_an_option_that_is_spelt_wrongly_is_told_the_right_one(sise):
    *_, last = sise("explain", "a.png", "--modle", "b")[2].splitlines()
    assert last.startswith("error: No such option")
    assert "--model" in last


@pytest.mark.parametrize("command", [["inspect"], ["export"], ["verify"], ["explain", "a.png", "-m"]])
def test_a_path_that_no_system_takes_is_named(sise, command):
    code, out, err = sise(*command, "a" * 300)
    assert (code, out) == (2, "")
    assert re.fullmatch(f"error: {'a' * 300}(/manifest.json)? cannot be read: File name too long\n", err)
