"""The page in a browser: what is seen in every state, and that nothing else happens."""

import io
import json
import re
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl, urlsplit

import pytest

pytest.importorskip("starlette", reason="needs the extra serve")

from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Mount

from docs.chromium import installed, opened
from sise_rt.serve.app import make_app
from sise_rt.serve.jobs import Job
from sise_rt.serve.models import built_in, example_picture, find_bundles, load_models
from sise_rt.serve.server import Server, bound_socket
from sise_rt.serve.settings import Settings
from sise_rt.serve.work import Turn

DESK, PHONE = (1280, 900), (390, 844)
HOSTILE = "\"><img src=x onerror=document.title='ran'><script>document.title='ran'</script>"
PHASE = "document.getElementById('main').dataset.phase"
DONE, RUNNING, WAITING = (f"{PHASE} === '{name}'" for name in ("done", "running", "waiting"))
MAP_SHOWN = "!document.getElementById('map').hidden"
READY = "!document.getElementById('example').hidden"


@pytest.fixture(scope="module")
def models():
    return load_models(find_bundles(()), provider="cpu")


@pytest.fixture
def pace():
    """Seconds that every pass takes at least: `pace.seconds`."""
    look, pace = Turn.look, SimpleNamespace(seconds=0.0)

    def slowly(turn):
        time.sleep(pace.seconds)
        look(turn)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Turn, "look", slowly)
        yield pace


@contextmanager
def served(app):
    """The address of a server of the app, as long as the block lasts."""
    with bound_socket("127.0.0.1", 0) as listening:
        up = threading.Event()
        server = Server(app, up.set)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            assert up.wait(60)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.end()
            server.end()
            thread.join()


@pytest.fixture
def address(models, pace):
    """Of a server that scores few masks, which is enough where they are not looked at."""
    with served(make_app(models, Settings(preset="fast"), example=True)) as address:
        yield address


@pytest.fixture
def thorough(models, pace):
    """Of one that scores all masks, and has one place to wait."""
    with served(make_app(models, Settings(queue=1), example=True)) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = installed()
    if program is None:
        pytest.skip("no Chromium is installed")
    with opened(program, tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def tab(browser):
    """The page's tab; what it says on its console fails the test, but for answers that are errors."""
    browser.screen(*DESK)
    browser.errors.clear()
    browser.requests.clear()
    yield browser
    browser.open("about:blank")
    refusals = re.compile(r"Failed to load resource: .*(status of (4\d\d|503)|ERR_INTERNET_DISCONNECTED)")
    assert [error for error in browser.errors if not refusals.match(error)] == []


def explain_example(tab, address):
    tab.open(address)
    tab.until(READY)
    tab.click("#example")


def occupy(tab, count):
    """Send pictures behind the page's back."""
    tab.run(
        "fetch('example.png').then(answer => answer.blob()).then(picture => Promise.all("
        f"Array.from({{length: {count}}}, () => fetch('jobs', {{method: 'POST', body: picture}}))))"
        ".then(answers => answers.length)"
    )


def shown(tab, selector):
    return tab.run(f"!!document.querySelector({json.dumps(selector)})?.checkVisibility()")


# -------------------- the way from a picture to its map


def test_the_example_is_explained(tab, thorough, pace):
    pace.seconds = 0.02
    explain_example(tab, thorough)
    tab.until(f"{RUNNING} && {MAP_SHOWN}")
    assert tab.text("#target") == "pit (2)"  # while the map is still growing
    assert re.fullmatch(r"\d+ of 102 passes, .* left", tab.text("#step"))
    assert tab.run("document.getElementById('map').src").startswith("data:image/png;base64,")
    tab.until(DONE)
    assert tab.text("#decision") == "This is the model's decision, with a confidence of 0.988."
    assert tab.run("document.getElementById('map').naturalWidth") == 512
    assert tab.run("document.getElementById('map').alt") == "What speaks for pit (2), over the picture"
    assert tab.run("document.querySelectorAll('#tiles img').length") == 5
    rows = "[...document.querySelectorAll('#region tr')].map(row => row.textContent)"
    assert tab.run(rows) == [
        "whole picture0.988",
        "region hidden0.005",
        "as much hidden elsewhere0.989",
        "region alone0.942",
    ]
    assert tab.run("document.querySelectorAll('#curves polyline').length") == 2
    assert tab.errors == []
    assert {request.split("/")[2] for request in tab.requests} == {thorough.split("/")[2]}


def test_what_can_be_saved_is_there(tab, address):
    explain_example(tab, address)
    tab.until(DONE)
    answers = tab.run(
        "Promise.all([...document.querySelectorAll('#files a')].map(link => fetch(link.href).then(answer => "
        "[link.download, answer.status, answer.headers.get('content-type').split(';')[0]])))"
    )
    assert answers == [
        ["example.2.png", 200, "image/png"],
        ["example.2.html", 200, "text/html"],
        ["example.2.json", 200, "application/json"],
        ["example.2.npy", 200, "application/x-npy"],
    ]


def test_another_class_is_a_press_away(tab, address):
    explain_example(tab, address)
    tab.until(DONE)
    tab.click("#best li:nth-child(2) button")
    tab.until(f"{DONE} && document.getElementById('target').textContent === 'inclusion (3)'")
    assert tab.text("#best [aria-current]").startswith("inclusion (3)")
    assert "Its decision is pit (2), with 0.988." in tab.text("#decision")
    assert tab.run("document.activeElement.textContent").startswith("inclusion (3)")
    assert tab.errors == []


def test_the_slider_goes_from_the_picture_to_the_map(tab, address):
    explain_example(tab, address)
    tab.until(DONE)
    opacity = "document.getElementById('map').style.opacity"
    assert tab.run(opacity) == "1"
    tab.run("document.getElementById('opacity').focus()")
    for _ in range(5):
        tab.press("ArrowLeft")
    assert tab.run(opacity) == "0.95"
    assert tab.run("document.getElementById('opacity').getAttribute('aria-valuetext')") == "95 % map"


def test_another_method_has_its_own_settings(tab, address):
    tab.open(address)
    tab.until(READY)
    assert shown(tab, "#preset")
    tab.run(
        "document.getElementById('method').value = 'grad-cam'; "
        "document.getElementById('method').dispatchEvent(new Event('change'))"
    )
    assert not shown(tab, "#preset")
    tab.click("#example")
    tab.until(DONE)
    assert query(tab) == {"model": "surface", "method": "grad-cam", "check": "1"}
    assert not shown(tab, "#blocks")


def query(tab):
    """What was asked of the server last."""
    address = [request for request in tab.requests if "/jobs?" in request][-1]
    return dict(parse_qsl(urlsplit(address).query))


def test_fewer_masks_are_asked_for(tab, thorough):
    explain_example(tab, thorough)
    tab.until(DONE)
    assert query(tab) == {"model": "surface", "method": "sise", "check": "1"}  # as the server is set
    tab.run("document.getElementById('preset').value = 'fast'; document.getElementById('check').click()")
    tab.click("#redo")
    tab.until(f"{PHASE} !== 'done'")
    tab.until(DONE)
    assert query(tab) == {"model": "surface", "method": "sise", "preset": "fast", "check": "0"}
    assert not shown(tab, "#checked")


def test_a_picture_is_chosen(tab, address):
    tab.open(address)
    tab.until(READY)
    tab.choose(example_picture())
    tab.until(DONE)
    assert tab.text("#over") == "What surface looked at in surface.png"


WAYS = {"paste": ("ClipboardEvent", "clipboardData"), "drop": ("DragEvent", "dataTransfer")}


@pytest.mark.parametrize("way", WAYS)
def test_a_picture_is_brought(tab, address, way):
    event, carrier = WAYS[way]
    tab.open(address)
    tab.until(READY)
    tab.run(
        "fetch('example.png').then(answer => answer.blob()).then(picture => {"
        "const sent = new DataTransfer();"
        "sent.items.add(new File([picture], 'surface.png', {type: 'image/png'}));"
        f"const brought = new {event}('{way}', {{bubbles: true, cancelable: true, {carrier}: sent}});"
        "document.body.dispatchEvent(brought); })"
    )
    tab.until(DONE)
    assert tab.text("#over") == "What surface looked at in surface.png"


def test_a_picture_that_the_browser_cannot_show_is_shown_by_the_server(tab, address, tmp_path):
    with Image.open(example_picture()) as picture:
        picture.convert("RGB").save(tmp_path / "surface.tif")
    tab.open(address)
    tab.until(READY)
    tab.choose(tmp_path / "surface.tif")
    tab.until(DONE)
    assert tab.text("#target") == "pit (2)"
    assert tab.until("document.getElementById('picture').naturalWidth") == 160


# -------------------- what goes wrong


def test_a_bad_picture_is_told_in_the_servers_words(tab, address, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    tab.open(address)
    tab.until(READY)
    tab.choose(tmp_path / "bad.png")
    tab.until(f"{PHASE} === 'failed'")
    assert tab.text("#notice-text").startswith("bad.png: this PNG cannot be decoded")
    assert tab.text("#said") == tab.text("#notice-text")
    assert shown(tab, "#choose")  # another one can be chosen
    tab.click("#example")
    tab.until(DONE)
    assert not shown(tab, "#notice")


def test_a_bad_picture_that_the_browser_shows_makes_room_for_another(tab, address, tmp_path):
    whole = io.BytesIO()
    with Image.open(example_picture()) as picture:
        picture.convert("RGB").resize((600, 600)).save(whole, "JPEG")
    (tmp_path / "half.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    tab.open(address)
    tab.until(READY)
    tab.choose(tmp_path / "half.jpg")
    tab.until(f"{PHASE} === 'failed'")
    assert tab.until("document.getElementById('picture').naturalWidth") == 600
    assert tab.text("#notice-text").startswith("half.jpg: this JPEG cannot be decoded")
    assert shown(tab, "#choose")
    assert not shown(tab, "#redo")  # it would be refused again
    assert tab.run("document.activeElement.id") == "choose"
    tab.choose(example_picture())
    tab.until(DONE)
    assert shown(tab, "#redo")


def test_a_picture_that_is_no_reason_stays(tab, models, pace):
    """Another method, or the same again, may do better."""
    with served(make_app(models, Settings(preset="fast", max_seconds=0.001), example=True)) as address:
        pace.seconds = 0.01
        tab.open(address)
        tab.until(READY)
        tab.run(
            "document.getElementById('method').value = 'rise'; "
            "document.getElementById('method').dispatchEvent(new Event('change'))"
        )
        tab.click("#example")
        tab.until(f"{PHASE} === 'failed'")
        assert shown(tab, "#picture")
        assert shown(tab, "#redo")
        assert shown(tab, "#another")


def test_a_stopped_job_keeps_its_map(tab, thorough, pace):
    pace.seconds = 0.05
    explain_example(tab, thorough)
    tab.until(f"{RUNNING} && {MAP_SHOWN}")
    tab.click("#stop")
    tab.until(f"{PHASE} === 'stopped'")
    assert re.match(r"Stopped. The map is partial: it draws on \d+ masks", tab.text("#notice-text"))
    assert tab.run("document.getElementById('map').naturalWidth") == 512
    assert tab.run("document.querySelector('#files a').download") == "example.2.partial.png"
    assert tab.run("document.activeElement.id") == "target"
    assert tab.errors == []


def test_a_full_queue_is_waited_for(tab, thorough, pace):
    pace.seconds = 0.05
    tab.open(thorough)
    tab.until(READY)
    occupy(tab, 2)
    tab.click("#example")
    told = r"The queue is full. The page tries again in (\d+) seconds?."
    tab.until(WAITING)
    before = int(re.fullmatch(told, tab.text("#notice-text"))[1])
    tab.until(f"!document.getElementById('notice-text').textContent.includes(' {before} ')")
    assert shown(tab, "#retry")
    pace.seconds = 0
    tab.until(DONE)  # by itself
    assert not shown(tab, "#notice")


def test_a_full_queue_need_not_be_waited_for(tab, thorough, pace):
    pace.seconds = 0.05
    tab.open(thorough)
    tab.until(READY)
    occupy(tab, 2)
    tab.click("#example")
    tab.until(WAITING)
    tab.click("#give-up")
    tab.until(f"{PHASE} === 'stopped'")
    notice = "Stopped before there was a map. Some methods have none before their end."
    assert tab.text("#notice-text") == notice
    pace.seconds = 0


def test_the_place_in_line_is_told(tab, thorough, pace):
    pace.seconds = 0.05
    tab.open(thorough)
    tab.until(READY)
    occupy(tab, 1)
    tab.click("#example")
    tab.until(f"{PHASE} === 'queued'")
    assert tab.text("#step") == "In line: next"
    pace.seconds = 0
    tab.until(DONE)


def test_a_broken_stream_is_taken_up_where_it_was(tab, thorough, pace, monkeypatch):
    stream, asked = Job.stream, []

    async def breaking(job, after, return_seconds):
        asked.append(after)
        async for part in stream(job, after, return_seconds):
            yield part
            if len(asked) == 1 and b"event: progress" in part:
                return

    monkeypatch.setattr(Job, "stream", breaking)
    pace.seconds = 0.02
    explain_example(tab, thorough)
    tab.until(WAITING)
    assert tab.text("#notice-text").startswith("The server does not answer.")
    tab.until(DONE)
    first, second = asked
    assert first == 0 < second
    assert tab.run("document.querySelectorAll('#best li').length") == 5


def test_a_server_that_is_gone_is_waited_for(tab, address):
    network = "Network.emulateNetworkConditions"
    nothing = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    tab.open(address)
    tab.until(READY)
    tab.call(network, offline=True, **nothing)
    try:
        tab.choose(example_picture())
        tab.until(WAITING)
        assert tab.text("#notice-text").startswith("The server does not answer.")
    finally:
        tab.call(network, offline=False, **nothing)
    tab.click("#retry")
    tab.until(DONE)


def test_a_server_that_ends_is_told_in_its_own_words(tab, models, pace):
    app = make_app(models, Settings(), example=True)
    with served(app) as address:
        tab.open(address)
        tab.until(READY)
        app.state.service.work.draining = True
        tab.click("#example")
        tab.until(WAITING)
        told = r"The server refuses: the server is about to end: .*\. The page tries again in \d seconds?\."
        assert re.fullmatch(told, tab.text("#notice-text"))
        app.state.service.work.draining = False
        tab.click("#retry")
        tab.until(DONE)


def test_a_token_is_asked_for_and_kept_nowhere(tab, models, pace):
    with served(make_app(models, Settings(token="right"), example=True)) as address:
        tab.open(address)
        for token, title in (
            ("wrong", "This server asks for a token"),
            ("right", "That token was not right"),
        ):
            tab.until(f"ask.open && document.getElementById('ask-title').textContent === {json.dumps(title)}")
            tab.run(f"document.getElementById('token').value = '{token}'")
            tab.click("#ask-form button")
        tab.until(READY)
        tab.click("#example")
        tab.until(DONE)
        assert tab.run("localStorage.length + sessionStorage.length + document.cookie.length") == 0
        assert not any("right" in request for request in tab.requests)
        assert tab.run("document.getElementById('token').value") == ""


# -------------------- whom and what it has to serve


def test_names_from_anywhere_do_nothing(tab, tmp_path, pace):
    from sise_rt.amending import amend

    labels = [f"{HOSTILE}{number}" for number in range(5)]
    amend(built_in(), tmp_path / "hostile.sise", labels=labels)
    (tmp_path / HOSTILE.replace("/", "")).write_bytes(example_picture().read_bytes())
    models = load_models(find_bundles((f"hostile={tmp_path / 'hostile.sise'}",)), provider="cpu")
    with served(make_app(models, Settings())) as address:
        tab.open(address)
        tab.until("document.getElementById('method').length")
        tab.choose(tmp_path / HOSTILE.replace("/", ""))
        tab.until(DONE)
        assert tab.text("#target") == f"{labels[2]} (2)"
        assert "<img src=x" in tab.text("#over")
        assert tab.run("document.title") != "ran"
        assert tab.run("document.querySelectorAll('img[src=x], body script').length") == 0
        assert tab.errors == []


@pytest.mark.parametrize("size", [PHONE, (320, 640), DESK])
def test_nothing_is_wider_than_the_window(tab, address, size):
    tab.screen(*size)
    explain_example(tab, address)
    for state in (f"{PHASE} !== 'empty'", DONE):
        tab.until(state)
        assert tab.run("document.documentElement.scrollWidth") <= size[0]


def test_it_can_be_used_by_keys_alone(tab, thorough, pace):
    pace.seconds = 0.02
    tab.open(thorough)
    tab.until(READY)
    reached = []
    for _ in range(5):
        tab.press("Tab")
        reached.append(tab.run("document.activeElement.id"))
    assert reached == ["choose", "example", "method", "preset", "check"]
    tab.run("document.getElementById('example').focus()")
    tab.press("Enter")
    tab.until(RUNNING)
    assert tab.run("document.activeElement.id") == "stop"
    tab.until(DONE)
    assert tab.run("document.activeElement.id") == "target"
    assert tab.text("#said") == "Done: what speaks for pit (2) is shown."


def test_what_can_be_used_or_seen_has_a_name(tab, address):
    explain_example(tab, address)
    tab.until(DONE)
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    named = [node for node in nodes if node.get("role", {}).get("value") in NAMED and not node["ignored"]]
    assert {node["role"]["value"] for node in named} == NAMED
    assert [node for node in named if not node.get("name", {}).get("value")] == []


NAMED = {"button", "link", "combobox", "checkbox", "slider", "image"}


def test_it_works_below_any_path(tab, models, pace):
    app = make_app(models, Settings(), example=True)
    with served_below("/looked/at", app) as address:
        explain_example(tab, address)
        tab.until(DONE)
        assert [request for request in tab.requests if not request.startswith(address)] == []


@contextmanager
def served_below(path, app):
    outer = Starlette(routes=[Mount(path, app=app)])
    outer.state.service = app.state.service
    with served(outer) as address:
        yield f"{address}{path.removeprefix('/')}/"


def test_several_models_are_chosen_among(tab, models, pace):
    (model,) = models.values()
    both = {"first": type(model)("first", model.explainer), "second": type(model)("second", model.explainer)}
    with served(make_app(both, Settings(), example=True)) as address:
        tab.open(address)
        tab.until(READY)
        tab.run(
            "document.getElementById('model').value = 'second'; "
            "document.getElementById('model').dispatchEvent(new Event('change'))"
        )
        tab.click("#example")
        tab.until(DONE)
        assert tab.text("#over") == "What second looked at in example.png"
        tab.run(
            "document.getElementById('model').value = 'first'; "
            "document.getElementById('model').dispatchEvent(new Event('change'))"
        )
        assert not shown(tab, "#best")  # the other model's
        tab.click("#redo")
        tab.until(DONE)
        assert tab.text("#over") == "What first looked at in example.png"


def test_the_page_asks_for_nothing_elsewhere():
    """No address in its files has a scheme, but for the name of SVG."""
    folder = Path(__file__).parents[2] / "sise_rt" / "serve" / "page"
    for file in folder.iterdir():
        addresses = re.findall(r"\b\w+:?//[\w.-]+", file.read_text("utf-8"))
        assert set(addresses) <= {"http://www.w3.org"}, file.name
