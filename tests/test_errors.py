"""The errors: one tree, as its drawing says."""

import inspect
import pickle
import re

import pytest

from sise_rt import errors

CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if inspect.isclass(value) and value.__module__ == errors.__name__
}


def drawn():
    """(name, parent, built-in parent) of every line of the module's drawing."""
    above: list[str] = []
    for line in errors.__doc__.split("\n\n")[1].splitlines():
        found = re.fullmatch(r"([│├└─ ]*)(\w+)(?: \((\w+)\))?", line)
        depth = len(found[1]) // 4
        above[depth:] = [found[2]]
        yield found[2], above[depth - 1] if depth else "Exception", found[3]


def test_the_drawing_is_the_tree():
    real = {
        (name, value.__bases__[0].__name__, value.__bases__[1].__name__ if len(value.__bases__) > 1 else None)
        for name, value in CLASSES.items()
    }
    assert set(drawn()) == real


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_is_one_of_ours_and_is_described(name):
    assert issubclass(CLASSES[name], errors.SiseError)
    assert CLASSES[name].__doc__


def test_the_message_survives():
    assert str(errors.OutputError("no room")) == "no room"
    assert str(errors.TargetError("no class")) == "no class"  # a KeyError would quote it


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_carries_its_settings_through_a_pickle(name):
    error = pickle.loads(pickle.dumps(CLASSES[name]("too large", settings=("input_size", "mean"))))
    assert error.settings == ("input_size", "mean")
    assert str(error) == "too large (see input_size, mean)"
    assert error.told({"input_size": "--input-size"}.get) == "too large (see --input-size)"
    assert error.told({}.get) == error.message == "too large"
