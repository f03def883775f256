"""The overview in a browser: a thousand items, found over all pages, by hand and by address."""

import json
import re
import time

import cv2
import numpy as np
import pytest

import sise_rt
from sise_rt.bulk.items import Item, Outcome
from sise_rt.bulk.lines import lines_of
from sise_rt.bulk.overview.pages import write_overview
from sise_rt.bulk.overview.side_file import begin, keep, shelf, side_file
from sise_rt.bulk.overview.thumbnails import CELLS, thumbnails

SIZE = 64  # pixels of a side of the pictures
MARK = slice(48, 58), slice(44, 60)  # rows and columns of the watermark
COUNT = 1000
HOSTILE = "</div><img src=x onerror=ran()>\u202e.png"


@pytest.fixture(scope="module")
def watcher(tmp_path_factory):
    """An explainer of a network that says `marked` where it finds magenta, and looks at nothing else."""
    onnx = pytest.importorskip("onnx")
    from sise_rt.export import export

    def weight(name, values):
        return onnx.numpy_helper.from_array(np.asarray(values, np.float32), name)

    node, first, second = onnx.helper.make_node, np.zeros((4, 3, 3, 3)), np.zeros((4, 4, 3, 3))
    first[0, :, 1, 1], first[1, :, 1, 1], first[2], first[3, 0] = (1, -2, 1), (-0.3, 1, -0.3), 1 / 27, 1 / 9
    second[range(4), range(4)] = 1 / 9
    graph = onnx.helper.make_graph(
        [
            node("Conv", ["input", "first", "bias"], ["a"], pads=[1] * 4),
            node("Relu", ["a"], ["b"]),
            node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", ["c", "second"], ["d"], pads=[1] * 4),
            node("Relu", ["d"], ["e"]),
            node("MaxPool", ["e"], ["f"], kernel_shape=[2, 2], strides=[2, 2]),
            node("GlobalAveragePool", ["f"], ["g"]),
            node("Flatten", ["g"], ["h"]),
            node("Gemm", ["h", "last", "offset"], ["scores"], transB=1),
        ],
        "watcher",
        [onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["N", 2])],
        [
            weight("first", first),
            weight("bias", (-0.8, 0, 0, 0)),
            weight("second", second),
            weight("last", ((-60, 0.1, 0, 0), (60, 0, 0, 0.1))),
            weight("offset", (0.5, -0.5)),
        ],
    )
    opset = onnx.helper.make_opsetid("", 18)
    folder = tmp_path_factory.mktemp("watcher")
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), folder / "watcher.onnx")
    made = export(
        folder / "watcher.onnx",
        folder / "watcher.sise",
        labels=["clean", "marked"],
        preprocess={"mean": (0, 0, 0), "std": (1, 1, 1)},
    )
    return sise_rt.load(made.path, "cpu")


@pytest.fixture(scope="module")
def run(watcher, tmp_path_factory):
    """The folder of a run of a thousand items: surfaces, half of them with a watermark, a few of them bad."""
    from examples.surface import generate

    folder = tmp_path_factory.mktemp("run")
    path = side_file(folder)
    begin(path)
    explained = []
    for number in range(8):
        pixels = cv2.resize(generate.picture(5, number)[0], (SIZE, SIZE))
        if number % 2:
            pixels[MARK] = 230, 30, 220
        explanation = watcher.explain(pixels)
        outcome = Outcome(Item("", pixels, ""), explained={"sise": [explanation]})
        explained.append((lines_of(outcome)[0], thumbnails(explanation.picture, [explanation])))
    bad = lines_of(Outcome(Item("", b"", ""), error=sise_rt.ImageError("torn")))[0]
    lines = []
    for number in range(COUNT):
        line, shown = explained[number % 8]
        id = f"cam{number % 3}/{number:04}.png" if number else HOSTILE
        if number % 100 == 50:
            lines.append(bad | {"id": id})
            continue
        lines.append(line | {"id": id, "confidence": number / COUNT, "truth": "marked"})
        keep(path, id, shown)
    write_overview(folder, lines, {"model": "watcher"}, resume="Say it again.")
    return folder


@pytest.fixture
def opened(tab, run):
    """A function that opens the overview at what is asked for, and gives the tab."""

    def at(asked=""):
        tab.complaints.clear()
        tab.open((run / "overview.html").as_uri() + asked)
        return tab

    yield at
    assert tab.complaints == []


def count_of(tab):
    return tab.run("document.getElementById('count').textContent")


def found(tab):
    return tab.run("[...document.querySelectorAll('#found h3')].map(title => title.textContent)")


def pictures(tab, first=6):
    """Wait until the first cards that were found are in view and have their pictures, and those are drawn."""
    tab.until("scrollY > 0")
    tab.until(
        f"[...document.querySelectorAll('#found li')].slice(0, {first}).every(card => {{"
        " const images = [...card.querySelectorAll('img')];"
        " return images.length && images.every(image => image.complete && image.naturalWidth); })"
    )


def test_the_watermark_stays_in_the_mean_of_its_class(run, opened):
    tab = opened()
    figures = "[...document.querySelectorAll('.means figure')]"
    told = dict(tab.run(f"{figures}.map(each => [each.innerText, each.querySelector('img').alt])"))
    (of_marked,) = [alt for text, alt in told.items() if text.startswith("marked")]
    across, down = map(int, re.findall(r"(\d+) %", of_marked))
    assert 44 / SIZE < across / 100 < 60 / SIZE
    assert 48 / SIZE < down / 100 < 58 / SIZE
    inside = np.zeros((SIZE, SIZE), np.float32)
    inside[MARK] = 1
    inside = cv2.resize(inside, (CELLS, CELLS), interpolation=cv2.INTER_AREA) > 0.5
    with shelf([side_file(run)]) as shown:
        maps = [shown.find(f"cam{number % 3}/{number:04}.png", 1).map for number in range(1, 48, 2)]
    mean = np.mean(maps, axis=0)
    assert mean[inside].mean() > 4 * mean[~inside].mean()


def test_before_anything_is_asked(opened):
    tab = opened()
    assert tab.run("document.querySelectorAll('#page li').length") == 200
    assert tab.run("getComputedStyle(document.getElementById('found')).display") == "none"
    assert tab.run("document.querySelector('#page img').naturalWidth") == 192
    assert tab.run("document.querySelector('#page h3').textContent") == HOSTILE.replace("\u202e", "\\u202e")
    assert tab.run("typeof ran") == "undefined"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("status=1", [n for n in range(COUNT) if n % 100 == 50]),
        ("status=failed", [n for n in range(COUNT) if n % 100 == 50]),
        ("status=lost", []),
        ("truth=lost", []),
        ("target=marked+(1)&confidence-from=0.99", [991, 993, 995, 997, 999]),
        ("target=0", [n for n in range(COUNT) if n % 2 == 0 and n % 100 != 50]),
        ("truth=wrong", [n for n in range(COUNT) if n % 2 == 0 and n % 100 != 50]),
        ("confidence-from=0.301&confidence-to=0.304", [301, 302, 303, 304]),
        ("confidence-from=0.345&confidence-to=0.352&sort=-confidence", [352, 351, 349, 348, 347, 346, 345]),
        ("q=CAM1/099", [991, 994, 997]),
        ("q=marked+cam2/09", [n for n in range(900, 1000) if n % 3 == 2 and n % 2]),
        ("q=nothing+of+that+name", []),
        ("border-from=0.9999", []),
    ],
)
def test_what_an_address_asks_for_is_found_on_all_pages(opened, asked, expected):
    tab = opened(f"#{asked}")
    assert count_of(tab) == f"{len(expected):,} of 1,000 cards"
    names = [f"cam{number % 3}/{number:04}.png" for number in expected if number]
    assert [name for name in found(tab) if name.endswith("png") and "cam" in name][:20] == names[:20]
    assert tab.run("getComputedStyle(document.getElementById('page')).display") == "none"


def test_cards_of_other_pages_come_with_their_pictures(opened):
    tab = opened("#confidence-from=0.5&target=1&sort=confidence")
    pictures(tab)
    text = tab.run("document.querySelector('#found li').innerText")
    assert "cam0/0501.png" in text
    assert "marked (1)" in text
    assert "Truth: marked, as the model says." in text
    link = tab.run("document.querySelector('#found a')?.href ?? ''")
    assert link.endswith("overview/0003.html#i502")
    assert tab.run("document.querySelectorAll('iframe').length") <= 1


def test_a_failure_is_told_with_its_reason(opened):
    tab = opened("#status=1")
    tab.until("document.querySelectorAll('#found .problem').length >= 6")
    assert "torn" in tab.run("document.querySelector('#found .problem').textContent")


def test_more_are_shown_when_asked(opened):
    tab = opened("#target=1")
    assert len(found(tab)) == 60
    tab.run("document.getElementById('more').click()")
    assert len(found(tab)) == 120


def test_by_keyboard_alone(opened):
    tab = opened()
    tab.run("document.querySelector('input[name=q]').focus()")
    tab.ask("Input.insertText", text="0777")
    tab.until("document.getElementById('count').textContent === '1 of 1,000 cards'")
    assert tab.run("location.hash") == "#q=0777"
    for _ in range(2):
        tab.press("Tab")
    assert tab.run("document.activeElement.name") == "target"
    tab.run("document.querySelector('button[type=reset]').focus()")
    tab.press("Enter", "\r")
    tab.until("document.getElementById('count').textContent === ''")
    assert tab.run("getComputedStyle(document.getElementById('page')).display") == "grid"


def test_a_figure_leads_to_its_pictures(opened):
    tab = opened()
    tab.run("[...document.querySelectorAll('main a')].find(link => link.textContent === 'failed').click()")
    tab.until("document.getElementById('count').textContent === '10 of 1,000 cards'")
    time.sleep(0.3)  # longer than the form waits before it writes the address
    assert tab.run("location.hash") == "#status=1"


@pytest.mark.parametrize("asked", ["#sort=-border", "#status=failed", "#status=lost&q=cam1"])
def test_an_address_stays_what_it_is(opened, asked):
    tab = opened(asked)
    assert count_of(tab)
    time.sleep(0.3)
    assert tab.run("location.hash") == asked
    tab.run("document.querySelector('button[type=reset]').click()")
    tab.until("document.getElementById('count').textContent === ''")
    assert tab.run("location.hash") == ""


def test_an_address_that_asks_for_nothing_known_shows_the_page(opened):
    tab = opened("#length=3&filter=x")
    assert count_of(tab) == ""


@pytest.mark.parametrize(
    ("view", "seen"), [("both", [True, True]), ("picture", [True, False]), ("map", [False, True])]
)
def test_picture_map_or_both(opened, view, seen):
    tab = opened()
    tab.run(f"document.getElementById('view-{view}').click()")
    widths = "['picture', 'map'].map(name => document.querySelector(`#page .${name}`).offsetWidth > 0)"
    assert tab.run(widths) == seen


def test_other_pages_stand_alone(tab, run):
    tab.complaints.clear()
    tab.open((run / "overview" / "0003.html").as_uri())
    assert tab.run("document.querySelectorAll('li').length") == 200
    tab.run("[...document.querySelectorAll('a')].find(link => link.textContent === 'Next page').click()")
    tab.until("location.pathname.endsWith('0004.html')")
    assert tab.complaints == []


def test_a_page_gives_nothing_to_whom_does_not_know_its_token(tab, run, tmp_path):
    page = (run / "overview" / "0002.html").as_uri()
    (tmp_path / "thief.html").write_text(
        f"<iframe src='{page}'></iframe><script>heard = 0; onmessage = () => heard += 1;"
        "document.querySelector('iframe').onload = (event) => [undefined, null, '', 'x'].forEach((token) =>"
        "event.target.contentWindow.postMessage({token, numbers: [200, 201]}, '*'))</script>"
    )
    tab.open((tmp_path / "thief.html").as_uri())
    tab.run("new Promise(done => setTimeout(done, 1000))")
    assert tab.run("heard") == 0


def test_a_page_that_is_gone_is_told(tab, run, tmp_path):
    html = (run / "overview.html").read_text("utf-8")
    (tmp_path / "overview.html").write_text(html, "utf-8")
    tab.open((tmp_path / "overview.html").as_uri() + "#q=0777")
    tab.until("document.querySelectorAll('#found .problem').length === 1")
    assert "follow the link" in tab.run("document.querySelector('#found .problem').textContent")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_its_window(opened, tab, width, dark):
    tab.look(width, 900, dark=dark)
    opened("#target=1")
    pictures(tab, 1)
    assert tab.run("document.documentElement.scrollWidth") <= width
    light = tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light != dark


def test_it_prints(opened):
    tab = opened()
    pdf = tab.printed()
    assert 10 < len(re.findall(rb"/Type /Page\b", pdf)) < 60


def test_the_index_is_small(run):
    html = (run / "overview.html").read_text("utf-8")
    index = re.search(r'<div id="index" hidden="">(.*?)</div>', html, re.DOTALL)[1]
    assert len(json.loads(index)["columns"]["id"]) == COUNT
    assert len(index) < 80 * COUNT
