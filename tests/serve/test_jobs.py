"""Jobs: started, watched to their end, left and found again, stopped, forgotten."""

import base64
import gc
import json
import time
import weakref

import cv2
import numpy as np
import pytest

from .conftest import parsed_events, running

PARTS = {
    "overlay.png": "image/png",
    "map.png": "image/png",
    "map.npy": "application/x-npy",
    "record.json": "application/json",
    "report.html": "text/html; charset=utf-8",
    "blocks.png": "image/png",
    "picture.png": "image/png",
    "check.json": "application/json",
}


def pixels_of(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_job_is_watched_from_its_queue_to_its_record(slow, model, picture):
    location = slow.job(picture, "?target=c")
    events = slow.events(location)
    names = [name for _, name, _ in events]
    assert names[-1] == "done"
    assert {"prediction", "progress", "map"} <= set(names)
    numbers = [number for number, _, _ in events]
    assert numbers == sorted(set(numbers))
    data = {name: data for _, name, data in events}
    confidences = model.explainer.confidences(picture)
    best = data["prediction"]["best"]
    assert [one["index"] for one in best] == np.argsort(-confidences).tolist()
    assert [one["confidence"] for one in best] == pytest.approx(np.sort(confidences)[::-1].tolist())
    assert data["progress"]["scored"] == data["progress"]["total"] > 1
    assert data["progress"]["seconds_left"] == 0
    assert data["done"]["record"]["target"] == {"index": 2, "label": "c"}
    shown = pixels_of(base64.b64decode(data["map"]["png"]))
    assert shown.shape == (40, 60, 4)  # of the picture, with what lies below shining through


def test_a_job_tells_where_it_stands(held, picture):
    first, second = held.job(picture), held.job(picture)
    assert held.entered.wait(60)
    held.until(lambda: held.json("GET", first)[1]["status"] == "running")
    told = held.json("GET", second)[1]
    assert (told["status"], told["position"], told["record"]) == ("queued", 1, None)
    held.let_go.set()
    for location in (first, second):
        told = held.ended(location)
        assert (told["status"], told["position"], told["error"]) == ("done", 0, None)
        assert told["record"]["schema"].startswith("sise-rt/record/")
        assert len(told["best"]) == 5


def test_the_parts_of_a_job(served, model, picture, pixels):
    location = served.job(picture, "?target=c&check=1")
    assert served.ended(location)["status"] == "done"
    contents = {}
    for part, kind in PARTS.items():
        status, headers, contents[part] = served.ask("GET", f"{location}/{part}")
        assert (status, headers["Content-Type"]) == (200, kind), part
    np.testing.assert_array_equal(pixels_of(contents["picture.png"])[..., ::-1], pixels)
    assert pixels_of(contents["map.png"]).shape == (40, 60, 4)
    assert json.loads(contents["record.json"])["target"]["label"] == "c"
    curves = json.loads(contents["check.json"])["curves"]
    for name in ("insertion", "deletion"):
        shares, heights = np.array(curves[name]["share"]), np.array(curves[name]["confidence"])
        assert (shares[0], shares[-1]) == (0, 1)
        assert len(shares) == len(heights)
        checked = json.loads(contents["check.json"])["check"][name]
        assert curves[name]["auc"] == pytest.approx(checked, abs=1e-6)
    whole = model.explainer.confidences(picture)[2]
    assert curves["deletion"]["confidence"][0] == pytest.approx(whole, abs=1e-6)


def test_a_stream_that_broke_goes_on(slow, picture):
    location = slow.job(picture)
    slow.ended(location)
    all_of_it = slow.events(location)
    assert all_of_it[-1][1] == "done"
    for place in range(1, len(all_of_it) + 1):
        assert slow.events(location, all_of_it[place - 1][0]) == all_of_it[place:]
    for nonsense in ("x", "-1", "1" * 400, "²"):
        assert slow.events(location, nonsense.encode()) == all_of_it


def test_the_headers_of_a_stream_come_without_it(held, picture):
    location = held.job(picture)
    status, headers, content = held.ask("HEAD", f"{location}/events")
    assert (status, content) == (200, b"")
    assert headers["Content-Type"].startswith("text/event-stream")
    job = held.service.jobs.named(location.rpartition("/")[2])
    assert (job.listeners, job.over) == (0, False)


def test_what_is_stopped_keeps_its_map(slow, picture):
    location = slow.job(picture)
    slow.until(lambda: slow.json("GET", location)[1]["scored"] > 2)
    assert slow.ask("DELETE", location)[0] == 204
    told = slow.ended(location)
    assert told["status"] == "stopped"
    assert told["record"]["partial"] is True
    assert told["scored"] < told["total"]
    assert slow.events(location)[-1][1] == "stopped"
    assert slow.ask("GET", f"{location}/overlay.png")[0] == 200
    assert slow.ask("DELETE", location)[0] == 204  # once more changes nothing
    assert slow.json("GET", location)[1] == told


def test_what_is_stopped_in_the_queue_never_runs(held, picture):
    held.job(picture)
    location = held.job(picture)
    assert held.ask("DELETE", location)[0] == 204
    told = held.ended(location)
    assert (told["status"], told["record"]) == ("stopped", None)
    assert held.events(location)[-1][1:] == ("stopped", {"record": None})
    assert held.refused("GET", f"{location}/map.png")[::2] == (404, "part")


def test_a_method_without_a_map_on_the_way_stops_with_nothing(slow, picture):
    location = slow.job(picture, "?method=rise:masks=100")
    slow.until(lambda: slow.json("GET", location)[1]["scored"] > 2)
    slow.ask("DELETE", location)
    told = slow.ended(location)
    assert (told["status"], told["record"], told["error"]) == ("stopped", None, None)


def test_what_is_not_done_has_no_parts(held, picture):
    location = held.job(picture)
    status, message, field = held.refused("GET", f"{location}/overlay.png")
    assert (status, field) == (409, "part")
    assert "not done" in message
    assert held.refused("GET", f"{location}/nonsense")[0] == 404


def test_a_job_that_fails_says_why(served, picture):
    flat = np.zeros((40, 60, 3), np.uint8)
    location = served.job(cv2.imencode(".png", flat)[1].tobytes(), "?method=sise:max_passes=1")
    told = served.ended(location)
    assert told["status"] == "failed"
    assert told["error"]["field"] == "max_passes"
    assert "leaves none for masks" in told["error"]["error"]
    assert served.events(location)[-1][1:] == ("failed", told["error"])


def test_a_client_that_leaves_stops_its_job(slow, picture):
    location = slow.job(picture, "?method=rise:masks=2000")
    with slow.socket() as connection:
        connection.sendall(f"GET {location}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert connection.recv(100)
    job = slow.service.jobs.named(location.rpartition("/")[2])
    slow.until(lambda: job.over)
    assert job.status == "stopped"


def test_a_client_that_returns_in_time_finds_its_job(slow, picture):
    location = slow.job(picture)
    for _ in range(3):
        with slow.socket() as connection:
            connection.sendall(f"GET {location}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert connection.recv(100)
        assert slow.ask("GET", location)[0] == 200
    assert slow.events(location)[-1][1] == "done"


def test_results_are_forgotten(models, picture):
    with running(models, keep=0.3) as server:
        location = server.job(picture)
        server.until(lambda: server.ask("GET", location)[0] == 404)
        assert not len(server.service.jobs)
        location = server.job(picture)
        server.ended(location)
        assert server.ask("DELETE", f"{location}?forget=1")[0] == 204
        status, message, field = server.refused("DELETE", location)
        assert (status, field) == (404, "id")
        assert "kept" in message
        assert server.refused("DELETE", f"{location}?forget=yes")[2] == "forget"


@pytest.mark.parametrize("query", ["", "?method=rise:masks=30", "?check=1"])
def test_what_is_forgotten_is_let_go_of_at_once(served, picture, query):
    gc.disable()  # or circles of references would be found now and then, and that late
    try:
        location = served.job(picture, query)
        served.events(location)
        served.ask("GET", f"{location}/overlay.png")
        explained = served.service.jobs.named(location.rpartition("/")[2]).answer.explanation
        pixels = weakref.ref(explained.picture.pixels)
        del explained
        served.ask("DELETE", f"{location}?forget=1")
        served.until(lambda: pixels() is None)
    finally:
        gc.enable()


def test_the_oldest_results_make_room(models, picture):
    with running(models, kept_bytes=1) as server:
        locations = [server.job(picture) for _ in range(3)]
        server.ended(locations[-1])
        server.until(lambda: len(server.service.jobs) == 1)
        assert [server.ask("GET", location)[0] for location in locations] == [404, 404, 200]


def test_a_silent_stream_says_that_it_is_there(held, picture, monkeypatch):
    monkeypatch.setattr("sise_rt.serve.jobs.ALIVE", 0.05)
    location = held.job(picture)
    with held.socket() as connection:
        connection.sendall(f"GET {location}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        text, end = "", time.monotonic() + 60
        while ": still here" not in text:
            text += connection.recv(1000).decode()
            assert time.monotonic() < end
    assert parsed_events(": still here\n\n") == []
