"""The numbers, read as Prometheus reads them, against what was asked."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from .conftest import running


def numbers(server):
    text = server.ask("GET", "/metrics")[2].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found, name, **labels):
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


def test_what_was_asked_is_counted(models, picture):
    with running(models) as server:
        before = numbers(server)
        assert value(before, "sise_rt_queue_length") == value(before, "sise_rt_admitted") == 0
        _, exact = server.json("POST", "/explain?format=json", picture)
        _, fast = server.json("POST", "/explain?format=json&preset=fast", picture)
        server.refused("POST", "/explain", b"nonsense")
        location = server.job(picture, "?method=rise:masks=30&check=none")
        job = server.ended(location)["record"]
        server.ask("GET", "/a/path/that/nobody/has")
        found = numbers(server)
        answered = {"route": "/explain", "method": "POST"}
        assert value(found, "sise_rt_requests_total", **answered, code="200") == 2
        assert value(found, "sise_rt_requests_total", **answered, code="400") == 1
        assert value(found, "sise_rt_requests_total", route="none", method="GET", code="404") == 1
        assert value(found, "sise_rt_request_seconds_count", route="/explain") == 3
        records = (exact, fast, job)
        assert value(found, "sise_rt_masks_scored_total", model="small") == sum(r["masks"] for r in records)
        assert value(found, "sise_rt_masks_guessed_total", model="small") == fast["guessed"] > 0
        assert value(found, "sise_rt_explanations_total", model="small", method="sise") == 2
        assert value(found, "sise_rt_explanations_total", model="small", method="rise") == 1
        assert value(found, "sise_rt_confidence_count", model="small") == 3
        confident = sum(r["confidence"] for r in records)
        assert value(found, "sise_rt_confidence_sum", model="small") == pytest.approx(confident)
        warned = sum(bool(r["warnings"]) for r in records)
        assert value(found, "sise_rt_explanations_with_warnings_total", model="small") == warned
        for phase in ("waiting", "features", "scoring", "fusion"):
            count = value(found, "sise_rt_phase_seconds_count", model="small", phase=phase)
            assert count == (3 if phase in ("waiting", "scoring") else 2), phase
        assert value(found, "sise_rt_jobs") == 1
