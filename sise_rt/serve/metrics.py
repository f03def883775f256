"""What an operator watches: the server's numbers, and two of the models', for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from sise_rt.explanation import Explanation

SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180, 600)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one server, in a registry of its own. Thread-safe.

    Args:
        queued: gives how many requests wait for the device.
        admitted: gives how many were admitted and are not answered yet.
        kept: gives how many jobs are kept.
    """

    def __init__(self, queued: Callable[[], float], admitted: Callable[[], float], kept: Callable[[], float]):
        self.registry = registry = CollectorRegistry()
        for name, text, function in (
            ("queue_length", "Requests that wait for the device.", queued),
            ("admitted", "Requests that were admitted and are not answered yet.", admitted),
            ("jobs", "Jobs that run, or whose results are kept.", kept),
        ):
            Gauge(f"sise_rt_{name}", text, registry=registry).set_function(function)
        self._requests = Counter(
            "sise_rt_requests", "Answers.", ("route", "method", "code"), registry=registry
        )
        self._answered = Histogram(
            "sise_rt_request_seconds",
            "From a request to the end of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self._phases = Histogram(
            "sise_rt_phase_seconds",
            "Waiting for the device, and each phase of an explanation.",
            ("model", "phase"),
            buckets=SECONDS,
            registry=registry,
        )
        self._scored = Counter("sise_rt_masks_scored", "Masked copies.", ("model",), registry=registry)
        self._guessed = Counter(
            "sise_rt_masks_guessed", "Masks whose score was predicted.", ("model",), registry=registry
        )
        self._batches = Histogram(
            "sise_rt_batch_images",
            "Images per forward pass on the device, an explanation.",
            ("model",),
            buckets=BATCHES,
            registry=registry,
        )
        self._explained = Counter(
            "sise_rt_explanations", "Explanations.", ("model", "method"), registry=registry
        )
        self._confidence = Histogram(
            "sise_rt_confidence",
            "Of the model in the classes that were explained.",
            ("model",),
            buckets=SHARES,
            registry=registry,
        )
        self._warned = Counter(
            "sise_rt_explanations_with_warnings",
            "Explanations that have a warning in their record.",
            ("model",),
            registry=registry,
        )

    def answered(self, route: str, method: str, code: int, seconds: float) -> None:
        """Count an answer.

        Args:
            route: as the table of routes has it; no address, of which there are any number.
            method: of HTTP.
            code: of HTTP; 499 where the client had gone.
            seconds: from the request to its end.
        """
        self._requests.labels(route, method, str(code)).inc()
        self._answered.labels(route).observe(seconds)

    def explained(self, model: str, explanation: Explanation, waited: float) -> None:
        """Count an explanation, and the seconds that its request waited for the device."""
        self._phases.labels(model, "waiting").observe(waited)
        for phase, seconds in explanation.seconds.items():
            self._phases.labels(model, phase).observe(seconds)
        self._scored.labels(model).inc(explanation.masks)
        self._guessed.labels(model).inc(explanation.guessed)
        self._batches.labels(model).observe(explanation.batch)
        self._explained.labels(model, explanation.method).inc()
        if explanation.activation != "none":
            self._confidence.labels(model).observe(explanation.confidence)
        if explanation.warnings:
            self._warned.labels(model).inc()

    def text(self) -> bytes:
        """All of them, in Prometheus's text format."""
        return generate_latest(self.registry)
