"""Cards: what they say, and that no name leads elsewhere or becomes markup."""

from html.parser import HTMLParser

import pytest

from sise_rt.bulk.overview.cards import address, card
from sise_rt.bulk.overview.index import Index
from sise_rt.bulk.overview.rows import row_of
from sise_rt.bulk.overview.thumbnails import Thumbnail
from sise_rt.report.elements import written

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[31m\udcff&amp;"
SHOWN = Thumbnail((3, 2), b"picture", b"map")


def text_of(read, line, shown=SHOWN):
    return read(written(card(row_of(line), shown, 4, "./")))


def test_what_it_says(line, read):
    codes = [{"code": "map-at-border", "message": "much"}]
    best = {"index": 1, "label": "scratch", "confidence": 0.9}
    page = text_of(read, line("cam1/a.png", confidence=0.09, predicted=best, truth="pit", warnings=codes))
    for told in (
        "cam1/a.png",
        "pit (2), confidence 0.090",
        "The model decides for scratch (1).",
        "Truth: pit, which the model does not say.",
        "of the map lies along the border.",
        "map-at-border",
    ):
        assert told in page.text
    (card_,) = page.all("li")
    assert card_ == {"id": "i5", "class": "done"}
    assert [(image["class"], image["width"], image["height"]) for image in page.all("img")] == [
        ("picture", "3", "2"),
        ("map", "3", "2"),
    ]


@pytest.mark.parametrize("status", ["failed", "no evidence", "skipped"])
def test_why_there_is_no_map(line, read, status):
    page = text_of(read, line("a", status), Thumbnail((3, 2), b"picture"))
    assert status in page.text
    assert {"failed": "torn", "no evidence": "nothing speaks for it", "skipped": "the model is right"}[
        status
    ] in page.text
    assert "no map" in page.text
    assert "no picture was kept" in text_of(read, line("a", status), None).text


@pytest.mark.parametrize(
    "file",
    [
        "cam1/0001.281.png",
        "javascript:alert(1).png",
        "//elsewhere.example/x.png",
        "/etc/passwd.png",
        "http://elsewhere.example/x.png",
        "a?b#c%41.png",
        'x" onclick="ran().png',
        "\udcff\n.png",
        "..\\..\\x.png",
    ],
)
def test_an_address_stays_in_the_folder(file):
    from urllib.parse import unquote_to_bytes, urljoin, urlsplit

    base = "file:///run/overview.html"
    made = address(file, "./")
    assert made.isascii()
    assert not set(made) & set("\"'<> ?#\\")
    whole = urlsplit(urljoin(base, made))
    assert whole.scheme == "file"
    assert whole.netloc == ""
    assert unquote_to_bytes(whole.path).startswith(b"/run/")


def test_a_card_leads_to_its_result(line, read):
    files = ["cam1/a.2.png", "cam1/a.2.npy", "cam1/a.2.json"]
    assert text_of(read, line("a", files=files)).all("a") == [{"href": "./cam1/a.2.png"}]
    assert text_of(read, line("a", files=[*files, "cam1/a.2.html"])).all("a") == [{"href": "./cam1/a.2.html"}]
    assert text_of(read, line("a", files=files[1:])).all("a") == []


def test_names_from_anywhere_are_text(line, read):
    target = {"index": 0, "label": HOSTILE}
    hostile = line(HOSTILE, target=target, truth=HOSTILE, predicted=target | {"confidence": 0.5})
    page = text_of(read, hostile | {"files": [f"{HOSTILE}.png"]})
    assert {tag for tag, _ in page.elements} == {"li", "div", "img", "h3", "a", "p"}
    assert not [name for _, names in page.elements for name in names if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    failed = text_of(read, line("a", "failed", error={"kind": "ImageError", "message": HOSTILE}))
    assert not failed.all("script")


def test_the_index_is_text_that_no_parser_takes_for_more():
    from sise_rt.report.elements import element

    index = Index()
    index._names["classes"][HOSTILE] = 0

    class Reader(HTMLParser):
        tags: list = []  # noqa: RUF012

        def handle_starttag(self, tag, attributes):
            self.tags.append(tag)

    reader = Reader()
    reader.feed(written(element("div", index.to_json(200, "token"), id="index")))
    assert reader.tags == ["div"]
