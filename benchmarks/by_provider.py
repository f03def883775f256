"""The rows of `speed` on every provider that runs here, and in every precision."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import mean, median

import numpy as np

import sise_rt
from benchmarks.timing import NETWORKS, Between, bare, exported, photos_over_again, spread
from sise_rt.errors import ProviderError
from sise_rt.phases.rounded_scoring import make_scorer
from sise_rt.running.providers import choose, listed

TURNS = 8  # images a pass where providers are compared


def available(bundle: Path) -> dict[str, sise_rt.Explainer]:
    """The bundle on every provider that runs here, and in every precision."""
    explainers = {}
    for name in listed():
        try:
            precisions = choose(name).precisions
        except ProviderError:
            continue
        for precision in precisions or ("fp32",):
            explainers[f"{name} {precision}"] = sise_rt.load(bundle, name, precision=precision)
    return explainers


def passes(folder: Path, rounds: int) -> Iterator[str]:
    """The score graph alone."""
    yield f"{'network':24} {'provider':16} ms a mask  ratio to the bare model"
    for name in NETWORKS:
        source, bundle = exported(name, folder)
        run, random = bare(source), np.random.default_rng(0)
        scorers = {}
        for label, explainer in available(bundle).items():
            preprocess, block = explainer.manifest.preprocess, explainer.manifest.blocks[-2]
            image = random.standard_normal((1, *preprocess.input_size)).astype(np.float32)
            scorers[label] = make_scorer(explainer.engine, image, np.zeros(1, np.int64))
        maps = random.random((TURNS, block.height, block.width), np.float32)
        seconds: dict[str, list[float]] = {"bare": [], **{label: [] for label in scorers}}
        for turn in range(2 + 3 * rounds):
            for label, taken in seconds.items():
                begin = time.perf_counter()
                took = run(TURNS) if label == "bare" else None
                if took is None:
                    scorers[label](maps)
                    took = (time.perf_counter() - begin) / TURNS
                if turn >= 2:
                    taken.append(took)
        for label, taken in seconds.items():
            ratios = [one / other for one, other in zip(taken, seconds["bare"], strict=True)]
            yield f"{name:24} {label:16} {1e3 * median(taken):9.1f}  {spread(ratios)}"


def providers(folder: Path, rounds: int) -> Iterator[str]:
    """Whole explanations, exact and fast."""
    yield f"{'network':24} {'mu':>4} {'provider':16} exact: ratio             fast: ratio"
    for name, mu in NETWORKS.items():
        source, bundle = exported(name, folder)
        run, explainers = partial(bare(source), TURNS), available(bundle)
        ratios = {label: ([], []) for label in explainers}
        for photo in photos_over_again(rounds):
            for label, explainer in explainers.items():
                between = Between(run, TURNS)
                taken, masks = [], []
                for preset in ("exact", "fast"):
                    spent, begin = between.spent, time.perf_counter()
                    settings = {"mu": mu, "preset": preset, "batch_size": TURNS, "progress": between}
                    masks.append(explainer.explain(photo, **settings).masks)
                    taken.append(time.perf_counter() - begin - (between.spent - spent))
                    between.restart()
                whole = masks[0] * mean(between.seconds)
                for ratio, seconds in zip(ratios[label], taken, strict=True):
                    ratio.append(seconds / whole)
        for label, (exact, fast) in ratios.items():
            yield f"{name:24} {mu:4.1f} {label:16} {spread(exact):24} {spread(fast, '.3f')}"
