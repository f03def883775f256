from dataclasses import replace
from importlib import resources

import click
import pytest

from sise_rt.bundle import read_bundle
from sise_rt.commands.classes import named_classes


def test_a_model_of_one_class_has_no_two_to_compare():
    manifest = read_bundle(resources.files("sise_rt") / "demo" / "surface.sise")
    assert named_classes([], manifest, two=True) == []
    one = replace(manifest, classes=1, labels=("only",))
    assert named_classes([], one, two=False) == []
    with pytest.raises(click.UsageError, match="the model has one"):
        named_classes([], one, two=True)
