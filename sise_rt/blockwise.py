"""Phase 1 block by block, for images of which a pass through the whole network and back would not fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import BundleError
from .sessions import Sessions, run


class Blockwise:
    """Runs the per-block graphs forward and their heads back. Of a block only its output is kept.

    A head makes again what lies between two outputs, as in gradient checkpointing (Chen et al. 2016): the
    network is run forward about twice. Thread-safe.

    Args:
        sessions: of a bundle with gradients.

    Raises:
        BundleError: a graph cannot be loaded.
    """

    def __init__(self, sessions: Sessions):
        self._manifest, graphs = sessions.manifest, sessions.manifest.graphs
        self._forward = [sessions.session(g, keep=False) for g in [*graphs["blocks"], graphs["classifier"]]]
        self._heads = [sessions.session(graph, keep=False) for graph in graphs["heads"]]

    def features(
        self, images: np.ndarray, targets: np.ndarray
    ) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Feature maps, gradient scores and logits, as `run_features` gives them.

        Raises:
            ModelError: as `run`.
            BundleError: the graphs do not fit each other.
        """
        values, value = [], images
        for session in self._forward:
            (value,) = _run(session, value)
            values.append(value)
        *maps, logits = values
        alphas, gradient = [], targets
        for session, block in zip(reversed(self._heads), reversed(maps), strict=True):
            gradient, alpha = _run(session, block, gradient)
            alphas.append(alpha)
        alphas.reverse()
        blocks = self._manifest.blocks
        expected = [
            *((block.channels, block.height, block.width) for block in blocks),
            *((block.channels,) for block in blocks),
            (self._manifest.classes,),
        ]
        if [value.shape[1:] for value in (*maps, *alphas, logits)] != expected:
            raise BundleError(
                f"the blocks of {self._manifest.name} do not fit the manifest: export the bundle again"
            )
        return maps, alphas, logits


def _run(session: Any, *values: np.ndarray) -> list[np.ndarray]:
    return run(session, {slot.name: value for slot, value in zip(session.get_inputs(), values, strict=True)})
