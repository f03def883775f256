"""sise-rt, from its bundle."""

from __future__ import annotations

import numpy as np
from peer import Count, Explain, Settings

import sise_rt

# Phase 1 goes back once; integrated gradients once a step.
BACKWARD = {"sise": 1, "score-cam": 1, "grad-cam": 1, "integrated-gradients": 50, "rise": 0}


def prepare(method: str, settings: Settings, count: Count) -> Explain:
    """A method as the command line has it."""
    explainer = sise_rt.load(settings["bundle"], "cpu", settings["threads"])

    def explain(picture: np.ndarray, target: int) -> np.ndarray:
        explanation = explainer.explain(picture, target, method=method)
        count.forward += explanation.passes
        count.backward += BACKWARD[method.split(":")[0]]
        return explanation.map

    return explain
