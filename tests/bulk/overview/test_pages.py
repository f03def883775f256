"""The pages of a run: all of it, once, whatever it is, in memory for one page."""

import json
import re

import numpy as np
import pytest

from sise_rt.bulk.overview import index as index_module
from sise_rt.bulk.overview.pages import PAGE, refuse_foreign_pages, write_overview
from sise_rt.bulk.overview.side_file import begin, keep, side_file
from sise_rt.bulk.overview.thumbnails import CELLS, Thumbnail
from sise_rt.errors import OutputError
from sise_rt.methods import parse

HOSTILE = "</div></title></style></script><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\udcff"
SETTINGS = {"model": "surface", "bundle": "ab" * 32, "methods": ["sise"], "limit": None}


def shown(value=128, size=50):
    return Thumbnail((9, 9), bytes(size), bytes(size), np.full((CELLS, CELLS), value, np.uint8))


@pytest.fixture
def run(tmp_path, line):
    """A function that makes a run of so many items, every tenth of which failed, and its overview."""

    def made(count):
        path = side_file(tmp_path)
        begin(path)
        lines = []
        for number in range(count):
            lines.append(line(f"cam/{number:05}.png", "failed" if number % 10 == 9 else "done"))
            if lines[-1]["status"] == "done":
                keep(path, lines[-1]["id"], [shown()])
        write_overview(tmp_path, lines, SETTINGS, resume="Say it again.")
        return tmp_path

    return made


def pages_of(folder, read):
    names = ["overview.html", *sorted(path.name for path in (folder / "overview").glob("*.html"))]
    paths = [folder / names[0], *(folder / "overview" / name for name in names[1:])]
    return names, [read(path.read_text("utf-8")) for path in paths]


def page_text(folder):
    return (folder / "overview.html").read_text("utf-8")


def index_of(folder):
    html = page_text(folder)
    return json.loads(re.search(r'<div id="index" hidden="">(.*?)</div>', html, re.DOTALL)[1])


@pytest.mark.parametrize("count", [0, 1, 200, 201, 450])
def test_every_line_has_one_card(run, read, count):
    names, pages = pages_of(run(count), read)
    assert names == ["overview.html", *(f"{n:04}.html" for n in range(2, max(1, -(-count // PAGE)) + 1))]
    cards = [item["id"] for page in pages for item in page.all("li")]
    assert cards == [f"i{number + 1}" for number in range(count)]
    assert "Say it again." in pages[0].text
    assert "abababab" in pages[0].text
    columns = index_of(run(count))["columns"]
    assert all(len(column) == count for column in columns.values())


def test_pages_lead_to_each_other(run, read):
    names, pages = pages_of(run(450), read)
    assert [link["href"] for link in pages[1].all("a")][:3] == [
        "../overview.html",
        "../overview.html",
        "0003.html",
    ]
    assert [link["href"] for link in pages[2].all("a")][:2] == ["../overview.html", "0002.html"]
    assert "0004.html" not in [link["href"] for link in pages[2].all("a")]
    inside = [link["href"] for link in pages[0].all("a")]
    assert {f"overview/{name}" for name in names[1:]} <= set(inside)


def test_an_earlier_overview_leaves_nothing(run, read):
    run(450)
    assert len(pages_of(run(10), read)[0]) == 1


def test_the_index_is_what_the_lines_say(run):
    index = index_of(run(30))
    columns = index["columns"]
    assert columns["id"] == [f"cam/{number:05}.png" for number in range(30)]
    failed = [index["statuses"][status] == "failed" for status in columns["status"]]
    assert failed == [number % 10 == 9 for number in range(30)]
    assert {index["classes"][target] for target in columns["target"] if target >= 0} == {"pit (2)"}
    assert [value is None for value in columns["confidence"]] == failed


def test_what_the_index_has_no_room_for_is_told(run, read, monkeypatch):
    monkeypatch.setattr(index_module, "MOST", 25)
    folder = run(30)
    assert len(index_of(folder)["columns"]["id"]) == 25
    assert "5 more stand on the pages alone" in pages_of(folder, read)[1][0].text
    assert len(pages_of(folder, read)[1][0].all("li")) == 30


def test_an_explanation_enters_its_mean_once(tmp_path, line, read):
    """After a kill the side file may have it twice, or have one whose line was never written."""
    path = side_file(tmp_path)
    begin(path)
    for id, value in (("a", 10), ("b", 255), ("a", 51), ("never", 255)):
        keep(path, id, [shown(value)])
    write_overview(tmp_path, [line("a"), line("b")], SETTINGS)
    text = read((tmp_path / "overview.html").read_text("utf-8")).text
    assert "mean of 2 maps, highest 0.60" in text  # (51 + 255) / 2 / 255


def test_without_any_thumbnail(tmp_path, line, read):
    write_overview(tmp_path, [line("a"), line("b", "failed")], SETTINGS)
    text = read((tmp_path / "overview.html").read_text("utf-8")).text
    assert text.count("no picture was kept") == 2
    assert "on average" not in text


def test_several_lines_of_an_item(tmp_path, line, read):
    path = side_file(tmp_path)
    begin(path)
    keep(path, "a", [shown(), shown()])
    write_overview(tmp_path, [line("a", part=[1, 2]), line("a", part=[2, 2])], SETTINGS)
    page = read((tmp_path / "overview.html").read_text("utf-8"))
    assert "in 1 picture" in page.text
    assert "1 of 1 picture is explained. There are 2 cards below" in page.text
    assert "Of 1 picture." in page.text  # what became of it, and what the model decides for
    assert "Of 2 explanations." in page.text  # what is explained, and the histograms
    choices = [
        text for text in re.findall(r"<option[^>]*>([^<]*)</option>", page_text(tmp_path)) if ": " in text
    ]
    assert set(choices) == {"done: 2 cards", "pit (2): 2 cards"}
    assert len(page.all("li")) == 2


def test_what_is_off_is_no_setting(tmp_path, read):
    methods = {request.label: dict(request.settings) for request in map(parse, ("sise", "sise:max_passes=9"))}
    write_overview(
        tmp_path, [], SETTINGS | {"methods": methods, "drawing": {"palette": "cividis", "cut": None}}
    )
    text = read(page_text(tmp_path)).text
    assert "max_passes: 9" in text
    assert text.count("max_passes") == 2  # its name in the label, and its value
    assert "max_seconds" not in text
    assert text.count("budget: 1.0") == text.count("mu: 0.0") == 2
    assert "palette: cividis" in text
    assert "None" not in text


def test_names_from_anywhere_are_text(tmp_path, line, read):
    target = {"index": 0, "label": HOSTILE}
    lines = [
        line(HOSTILE, target=target, predicted=target | {"confidence": 0.1}, columns={HOSTILE: HOSTILE}),
        line(f"{HOSTILE} 2", "failed", error={"kind": "ImageError", "message": HOSTILE}),
        line(f"{HOSTILE} 3", "skipped", reason=HOSTILE),
    ]
    lines += [line(f"{HOSTILE} {number}") for number in range(200)]
    settings = SETTINGS | {"model": HOSTILE, HOSTILE: {HOSTILE: [HOSTILE]}}
    write_overview(tmp_path, lines, settings, resume=HOSTILE)
    for page in pages_of(tmp_path, read)[1]:
        assert len(page.all("script")) == 1  # ours
        assert not page.all("img")
        assert not [name for _, names in page.elements for name in names if name.startswith("on")]
        assert {link["href"][:1] for link in page.all("a")} <= {"#", ".", "o", "0"}
        assert "<script>alert(1)</script>" in page.text


def test_nothing_is_loaded(run):
    for path in [run(250) / "overview.html", *(run(250) / "overview").glob("*.html")]:
        html = path.read_text("utf-8")
        assert not re.search(r"""(?:src|href)=["'](?!data:image/|\.\.?/|#|overview/|\d{4}\.html)""", html)
        assert not re.search(r"(?:https?:)?//[a-z]", html.split("<script>")[0])
        policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


PEAKS = """
import json, sys, tracemalloc
from pathlib import Path
import numpy as np
from sise_rt.bulk.overview.pages import write_overview
from sise_rt.bulk.overview.side_file import begin, keep, side_file
from sise_rt.bulk.overview.thumbnails import CELLS, Thumbnail

folder, line, settings = Path(sys.argv[1]), json.loads(sys.argv[2]), json.loads(sys.argv[3])
path, peaks = side_file(folder), []
begin(path)
entry = Thumbnail((9, 9), bytes(20_000), bytes(20_000), np.full((CELLS, CELLS), 128, np.uint8))
for number in range(1200):
    keep(path, f"{number}", [entry])
for count in (400, 400, 1200):  # the first time also pays for what is imported late
    tracemalloc.start()
    write_overview(folder, (line | {"id": f"{number}"} for number in range(count)), settings)
    peaks.append(tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
print(json.dumps(peaks[1:]))
"""


def test_thumbnails_are_not_all_in_memory(tmp_path, line, alone):
    fewer, more = alone(PEAKS, tmp_path, json.dumps(line("x")), json.dumps(SETTINGS))
    assert more - fewer < 800 * 20_000 / 4


def test_where_it_cannot_be_written(tmp_path, line):
    (tmp_path / "overview.html").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_overview(tmp_path, [line("a")], SETTINGS)


@pytest.mark.parametrize("name", ["overview.html", "overview/2024.html"])
def test_pages_of_somebody_else_are_found_before_the_work(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    (path.parent / "0001.2.png").write_bytes(b"a result")
    refuse_foreign_pages(tmp_path)
    path.write_text("mine")
    with pytest.raises(OutputError, match=f"'{path}' exists already") as caught:
        refuse_foreign_pages(tmp_path)
    assert caught.value.settings == ("out", "overview")


def test_pages_of_a_run_are_replaced(run):
    refuse_foreign_pages(run(0))
    refuse_foreign_pages(run(PAGE + 1))
