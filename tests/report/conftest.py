"""An explanation to be reported: the demo's."""

from html.parser import HTMLParser
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


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = self.title = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] == "title":
            self.title += data
        self.text += f"{data} "

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="session")
def read():
    """What reads a page: its elements, with their attributes, and its text."""
    return Page
