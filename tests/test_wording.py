"""Words that messages share."""

import pytest

from sise_rt.wording import Note, counted, in_bytes, probability, reason


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, "block"), "0 blocks"),
        ((1, "block"), "1 block"),
        ((2, "block"), "2 blocks"),
        ((1, "class", "classes"), "1 class"),
        ((5, "class", "classes"), "5 classes"),
    ],
)
def test_counted(arguments, words):
    assert counted(*arguments) == words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (10, "10 bytes"),
        (999, "999 bytes"),
        (999.9, "1 kB"),
        (81_920, "81.9 kB"),
        (999_999, "1 MB"),
        (411_500_000, "412 MB"),
        (2.5e9, "2.5 GB"),
        (7e15, "7e+03 TB"),
    ],
)
def test_an_amount_of_memory_has_the_unit_that_it_fills(size, words):
    assert in_bytes(size) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "below 0.001"),
        (3e-9, "below 0.001"),
        (0.000999, "below 0.001"),
        (0.001, "0.001"),
        (0.2806, "0.281"),
        (0.999, "0.999"),
        (0.9992, "above 0.999"),
        (1.0, "above 0.999"),
    ],
)
def test_no_probability_is_told_as_none_or_certainty(value, words):
    assert probability(value) == words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.png"), "No such file or directory"),
        (OSError("no room"), "no room"),
        (ValueError("embedded null byte"), "embedded null byte"),
    ],
)
def test_the_system_s_reason_has_no_number_and_no_path(error, words):
    assert reason(error) == words


def test_a_note_is_its_text_and_names_an_argument():
    note = Note("scale 255.0", "scale")
    assert (note, note.setting, Note("a crop").setting) == ("scale 255.0", "scale", None)
