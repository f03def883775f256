"""Words that messages share."""

import pytest

from sise_rt.wording import counted


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
