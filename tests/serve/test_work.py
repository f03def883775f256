"""The queue: its bounds, its order, time that runs while a request waits, and who is let go."""

import gc
import threading
import weakref

import pytest

from .conftest import running


def waiting(server, count):
    """Wait until so many requests wait."""
    server.until(lambda: len(server.service.work.waiting) == count)


def ask_in_thread(server, answers, *arguments):
    thread = threading.Thread(target=lambda: answers.append(server.ask(*arguments)))
    thread.start()
    return thread


def test_a_full_queue_refuses_and_says_when_to_come_again(held, picture):
    answers = []
    threads = [ask_in_thread(held, answers, "POST", "/explain", picture) for _ in range(3)]
    held.until(lambda: len(held.service.work.turns) == 3)
    for path in ("/explain", "/jobs"):
        status, headers, content = held.ask("POST", path, picture)
        assert status == 429
        assert int(headers["Retry-After"]) >= 1
        assert b"full" in content
    assert held.ask("GET", "/v2/health/ready")[0] == 200  # a full queue is no fault
    held.let_go.set()
    for thread in threads:
        thread.join(60)
    assert [status for status, *_ in answers] == [200] * 3
    assert held.ask("POST", "/explain", picture)[0] == 200


def test_a_refused_request_leaves_no_place_taken(held, picture):
    for _ in range(5):
        assert held.refused("POST", "/explain", b"nonsense")[0] == 400
        assert held.refused("POST", "/jobs?mu=7", picture)[0] == 400
    assert not held.service.work.turns


def test_time_runs_while_a_request_waits(held, picture):
    held.job(picture)
    assert held.entered.wait(60)
    status, message, field = held.refused("POST", "/explain?max_seconds=0.1", picture)
    assert (status, field) == (429, "max_seconds")
    assert "before its turn" in message
    assert not held.service.work.waiting
    location = held.job(picture, "?max_seconds=0.1")
    assert held.ended(location)["error"]["field"] == "max_seconds"


def test_the_time_that_is_left_is_the_methods(slow, picture):
    _, record = slow.json("POST", "/explain?max_seconds=0.2&format=json", picture)
    assert record["partial"] is True
    assert 0 < record["settings"]["max_seconds"] <= 0.2
    assert "out-of-time" in [warning["code"] for warning in record["warnings"]]


def test_a_method_without_a_map_on_the_way_is_refused_when_its_time_is_over(slow, picture):
    status, message, field = slow.refused("POST", "/explain?method=rise:masks=1000&max_seconds=0.2", picture)
    assert (status, field) == (422, "max_seconds")
    assert "rise" in message


def test_the_servers_own_limit_holds_for_all(models, picture):
    with running(models, max_seconds=100.0, preset="fast") as server:
        _, record = server.json("POST", "/explain?format=json", picture)
        assert 0 < record["settings"]["max_seconds"] <= 100
        assert record["settings"]["budget"] == 0.1
        _, record = server.json("POST", "/explain?format=json&max_seconds=50&preset=exact", picture)
        assert 0 < record["settings"]["max_seconds"] <= 50
        assert record["settings"]["budget"] == 1
        _, record = server.json("POST", "/explain?format=json&budget=0.5", picture)
        assert record["settings"]["budget"] == 0.5


def test_work_without_end_is_ended_where_nobody_set_a_limit(slow, picture, monkeypatch):
    monkeypatch.setattr("sise_rt.serve.asked.LONGEST_USUAL", 0.3)
    status, message, field = slow.refused("POST", "/explain?method=rise:masks=99999999999999", picture)
    assert (status, field) == (422, "max_seconds")
    assert "rise" in message
    location = slow.job(picture, "?method=rise:masks=99999999999999&max_seconds=86400")
    assert slow.ended(location)["error"]["field"] == "max_seconds"
    _, record = slow.json("POST", "/explain?format=json", picture)
    assert record["partial"] is True
    assert "stopped" in [warning["code"] for warning in record["warnings"]]
    slow.idle()


def test_the_limit_that_nobody_set_is_not_the_methods(served, picture):
    _, record = served.json("POST", "/explain?format=json", picture)
    assert (record["partial"], record["settings"]["max_seconds"]) == (False, 0)


def test_the_servers_limit_can_be_lifted(models, picture, monkeypatch):
    monkeypatch.setattr("sise_rt.serve.asked.LONGEST_USUAL", 1e-6)
    with running(models, max_seconds=0.0) as server:
        _, record = server.json("POST", "/explain?format=json", picture)
        assert (record["partial"], record["settings"]["max_seconds"]) == (False, 0)


def test_the_first_comes_first(held, picture):
    locations = [held.job(picture) for _ in range(3)]
    assert held.entered.wait(60)
    waiting(held, 2)
    assert [held.json("GET", location)[1]["position"] for location in locations] == [0, 1, 2]
    held.ask("DELETE", locations[1])
    held.until(lambda: held.json("GET", locations[2])[1]["position"] == 1)


def test_health_and_numbers_are_told_while_the_device_works(held, picture):
    held.job(picture)
    assert held.entered.wait(60)
    assert held.json("GET", "/v2/health/live") == (200, {"live": True, "ready": True})
    assert held.json("GET", "/v2/health/ready") == (200, {"live": True, "ready": True})
    assert b"sise_rt_admitted 1.0" in held.ask("GET", "/metrics")[2]


@pytest.mark.parametrize("stage", ["waiting", "working"])
def test_a_client_that_goes_away_stops_its_work(held, picture, stage):
    if stage == "waiting":
        location = held.job(picture)
        held.until(lambda: held.json("GET", location)[1]["status"] == "running")
    head = f"POST /explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
    with held.socket() as connection:
        connection.sendall(head + picture)
        if stage == "waiting":
            waiting(held, 1)
        else:
            assert held.entered.wait(60)
    held.until(lambda: len(held.service.work.turns) == (stage == "waiting"))
    assert not held.service.work.waiting


def test_what_was_stopped_before_its_turn_lets_go_of_its_picture(held, picture):
    held.job(picture)
    assert held.entered.wait(60)
    pictures = weakref.WeakSet()
    read = held.service.read

    async def watched(*arguments):
        prepared = await read(*arguments)
        pictures.add(prepared)
        return prepared

    held.service.read = watched
    for _ in range(5):
        held.ask("DELETE", held.job(picture) + "?forget=1")
    held.until(lambda: not held.service.work.waiting)
    gc.collect()
    assert not pictures
    assert not held.let_go.is_set()


def test_several_workers_work_at_a_time(models, picture):
    both = threading.Barrier(2, timeout=60)

    class Meeting:
        def __init__(self, explainer):
            self._explainer = explainer

        def __getattr__(self, name):
            return getattr(self._explainer, name)

        def explain(self, *arguments, **options):
            both.wait()
            return self._explainer.explain(*arguments, **options)

    model = type(models["small"])("small", Meeting(models["small"].explainer))
    with running({"small": model}, workers=2) as server:
        locations = [server.job(picture) for _ in range(2)]
        assert [server.ended(location)["status"] for location in locations] == ["done"] * 2
