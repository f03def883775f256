"""Throughput, the time to an answer of health, memory, and full queues."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import sise_rt
from benchmarks.serve.client import Client, served
from benchmarks.timing import spread
from sise_rt.serve.models import built_in, example_picture

CLIENTS = (1, 4, 16)
FIRST = 500  # requests before memory is looked at
BETWEEN = 0.05  # seconds between two questions for health
KEEP = 10  # seconds that results of jobs are kept: longer than a busy machine lets a client wait for one


def load(rounds: int, pictures: int, preset: str) -> Iterator[str]:
    """The rate of the service over that of the loop, and how fast health is told meanwhile."""
    data = example_picture().read_bytes()
    explainer = sise_rt.load(built_in())
    rates: dict[int, list[float]] = {number: [] for number in (0, *CLIENTS)}

    def bare() -> None:
        for _ in range(pictures):
            explainer.explain(explainer.prepare(data), preset=preset).png()

    bare()
    with served("--queue", "32") as (client, _):

        def by(clients: int) -> None:
            _each(clients, [lambda: _served(client, data, preset)] * pictures)

        by(4)
        for _ in range(rounds):
            rates[0].append(_rate(pictures, bare))
            for number in CLIENTS:
                rates[number].append(_rate(pictures, partial(by, number)))
        with _watching(client) as health:
            by(CLIENTS[-1])
    yield f"bare loop  {spread(rates[0])} pictures a second"
    for number in CLIENTS:
        ratios = [served / bare for served, bare in zip(rates[number], rates[0], strict=True)]
        yield f"{number:2} clients {spread(rates[number])} a second, {spread(ratios)} of the loop's"
    slow = sorted(health)[int(0.99 * len(health))]
    yield (
        f"health under {CLIENTS[-1]} clients: median {1e3 * median(health):.1f} ms, 99th percentile "
        f"{1e3 * slow:.1f} ms of {len(health)}"
    )


def _served(client: Client, data: bytes, preset: str) -> None:
    status, _, content = client.ask("POST", f"/explain?preset={preset}", data)
    assert (status, content[:4]) == (200, b"\x89PNG"), content


def _each(clients: int, requests: Sequence[Callable[[], object]]) -> None:
    """Requests by several clients, each of which sends its next one when it was answered."""
    with ThreadPoolExecutor(clients) as pool:
        for future in [pool.submit(ask) for ask in requests]:
            future.result()


def _rate(count: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


@contextmanager
def _watching(client: Client) -> Iterator[list[float]]:
    """A context in which health is asked for all the while; the seconds of each answer."""
    seconds: list[float] = []
    end = threading.Event()

    def ask() -> None:
        while not end.wait(BETWEEN):
            start = time.perf_counter()
            assert client.json("GET", "/v2/health/live")[0] == 200
            seconds.append(time.perf_counter() - start)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seconds
    finally:
        end.set()
        thread.join()


def memory(requests: int) -> Iterator[str]:
    """What the server holds after some requests of all kinds, and after many."""
    data = example_picture().read_bytes()
    with served("--queue", "32", "--keep", str(KEEP)) as (client, process):
        done, first = 0, 0.0
        while done < requests:
            step = min(FIRST, requests - done)
            _each(4, [partial(_mixed, client, data, done + i) for i in range(step)])
            done += step
            client.idle()
            time.sleep(KEEP + 1)  # in which results of jobs go
            held = _resident(process.pid)
            first = first or held
            yield f"after {done:6} requests {held:7.1f} MB, {held / first - 1:+.1%}"


def _mixed(client: Client, data: bytes, number: int) -> None:
    """A cheap request, of another kind each time."""
    kinds = ("budget=0.01&format=json", "budget=0.01", "method=grad-cam&format=npy")
    if number % 10 == 0:
        _ask(client, 400, "POST", "/explain", b"no picture")
    elif number % 10 == 1:
        job = client.job(data, "?budget=0.01")
        _ask(client, 200, "GET", f"{job}/map.png" if client.ended(job)["record"] else job)
    else:
        _ask(client, 200, "POST", f"/explain?{kinds[number % len(kinds)]}", data)


def _ask(client: Client, expected: int, method: str, path: str, body: bytes | None = None) -> None:
    status, _, content = client.ask(method, path, body)
    assert status == expected, f"{path}: {status} {content[:300]!r}"


def _resident(process: int) -> float:
    """Megabytes."""
    status = Path(f"/proc/{process}/status").read_text("ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1000


def full() -> Iterator[str]:
    """Many clients before a short queue."""
    data = example_picture().read_bytes()
    with served("--queue", "2") as (client, _), ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: client.ask("POST", "/explain?preset=fast", data), range(64)))
        counted = client.ask("GET", "/metrics")[2].decode()
    statuses = [status for status, *_ in answers]
    refused = [headers for status, headers, _ in answers if status == 429]
    said = re.findall(
        r'^sise_rt_requests_total{code="(\d+)",method="POST",route="/explain"} (\S+)$', counted, re.M
    )
    yield f"64 requests, 16 clients, 3 places: {statuses.count(200)} answered, {len(refused)} refused (429)"
    yield f"the numbers say {', '.join(f'{code}: {float(count):.0f}' for code, count in said)}"
    yield f"refusals that say when to come again: {sum('Retry-After' in headers for headers in refused)}"
    assert statuses.count(200) + len(refused) == 64
    assert {code: float(count) for code, count in said}.get("429", 0.0) == len(refused)
