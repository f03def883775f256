"""An explanation to be reported: the demo's."""

from importlib import resources

import pytest

import sise_rt


@pytest.fixture(scope="session")
def demo():
    return resources.files("sise_rt") / "demo"


@pytest.fixture(scope="session")
def explainer(demo):
    return sise_rt.load(str(demo / "surface.sise"), "cpu")


@pytest.fixture(scope="session")
def explanation(explainer, demo):
    return explainer.explain(str(demo / "surface.png"))
