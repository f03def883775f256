"""A page's tree: what comes from outside is text, and nothing is loaded or run."""

import base64
import hashlib
import re

import pytest

from sise_rt.report.elements import data_uri, document, element, put_text, readable, written


def test_texts_and_elements_keep_their_order():
    tree = element("p", "a", element("b", "c"), "d", None, "e", element("br"), "f")
    assert written(tree) == "<p>a<b>c</b>de<br>f</p>"
    put_text(tree, "g")
    assert written(tree).endswith("<br>fg</p>")


def test_names_of_attributes():
    made = element("div", class_="x", http_equiv="y", aria_hidden="true", title=None)
    assert written(made) == '<div class="x" http-equiv="y" aria-hidden="true"></div>'


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", "</p>", "&lt;", "]]>", "<!--", "'\"><b>"])
def test_text_is_never_markup(text):
    from html.parser import HTMLParser

    seen = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attrs):
            seen.append((tag, attrs))

        def handle_data(self, data):
            seen.append(data)

    reader = Reader(convert_charrefs=True)
    reader.feed(written(element("p", text, title=text)))
    reader.close()
    assert seen == [("p", [("title", text)]), text]


def test_what_cannot_be_shown_is_written_as_an_escape():
    assert readable("a\x00\x1b\u202eb\udcff\n") == "a\\x00\\x1b\\u202eb\\udcff\\n"
    readable("\ud800").encode("utf-8")
    assert readable("größe 猫 <b>") == "größe 猫 <b>"


def test_a_picture_is_in_its_address():
    assert data_uri(b"\x89PNG", "png") == "data:image/png;base64,iVBORw=="


def test_the_only_style_that_the_policy_allows_is_the_pages_own():
    style = "p > b { color: red; }\n"
    page = document("<title>", style, [element("p", "x")])
    assert page.startswith("<!DOCTYPE html>\n<html")
    assert "<title>&lt;title&gt;</title>" in page
    inside = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert inside == style
    digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "script" not in policy
