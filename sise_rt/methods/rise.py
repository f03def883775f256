"""RISE (Petsiuk et al., BMVC 2018): random masks, weighted by the model's confidence under them."""

from __future__ import annotations

import numpy as np

from sise_rt.errors import MethodError, OutOfMemory
from sise_rt.pictures.flatness import CONSTANT
from sise_rt.pictures.resizing import resize_map
from sise_rt.running.finite import require_finite
from sise_rt.running.logits import confidences

from .method import Method, Option, Range
from .query import Answer, Call, Clock, Finding, Nothing, Query, each_target
from .unexplained import undecided


def rise(
    query: Query, call: Call, clock: Clock, *, masks: int, cells: int, share: float, seed: int
) -> list[Answer]:
    """Sum_i Psi(x * m_i) m_i / (masks * share) (eq. 6).

    Args:
        query: the picture and its targets.
        call: what the methods of the call share.
        clock: of the method.
        masks: how many.
        cells: of a mask along each side before it is enlarged.
        share: of cells that show the picture, between 0 and 1.
        seed: of the masks.

    Raises:
        ModelError: the model's numbers are not finite for masked copies of the picture.
        MethodError: the picture has not so many pixels.
    """
    if cells > min(query.size):
        raise MethodError(f"cells {cells}: the input's shorter side has {min(query.size)} pixels only")
    rng = np.random.default_rng(seed)
    total, shown = np.zeros((len(query.targets), *query.size)), np.zeros(query.size)
    lowest, highest = np.full(len(query.targets), np.inf), np.full(len(query.targets), -np.inf)

    def score(part: slice) -> None:
        before = rng.bit_generator.state
        some = random_masks(rng, part.stop - part.start, query.size, cells, share)
        try:
            logits = query.engine.forward(query.image * some[:, None])
        except OutOfMemory:
            rng.bit_generator.state = before  # fewer of the same masks come next
            raise
        # The confidence of an infinite logit may be finite.
        require_finite("logits", "for masked copies of this image", logits)
        psi = confidences(logits, query.engine.manifest.activation)[:, query.targets]
        np.minimum(lowest, psi.min(axis=0), out=lowest)
        np.maximum(highest, psi.max(axis=0), out=highest)
        np.add(total, np.einsum("mt,mhw->thw", psi, some.astype(np.float64)), out=total)
        np.add(shown, some.sum(axis=0, dtype=np.float64), out=shown)

    batches = call.batches("forward")
    with clock("scoring"):
        batches.each(masks, score, call.ticker(masks))

    def explain_one(place: int, _: int, clock: Clock) -> Finding | Nothing:
        largest = max(abs(highest[place]), abs(lowest[place]))
        if highest[place] - lowest[place] <= CONSTANT * largest:  # what is left is the masks' noise
            return undecided(query, float(highest[place]))
        raw = total[place]
        if query.engine.manifest.activation == "none":  # outputs have no zero of their own
            raw = raw - lowest[place] * shown
        raw = raw / (masks * share)
        return Finding(raw=raw, passes=masks, masks=masks, batch=batches.size)

    return each_target(query, clock, explain_one)


def random_masks(
    rng: np.random.Generator, count: int, size: tuple[int, int], cells: int, share: float
) -> np.ndarray:
    """Masks (count, H, W) float32 in [0, 1]: coarse random grids, enlarged, and cut out at a random place."""
    height, width = size
    step = -(-height // cells), -(-width // cells)
    large = step[0] * (cells + 1), step[1] * (cells + 1)
    masks = np.empty((count, height, width), np.float32)
    for i in range(count):
        grid = (rng.random((cells, cells)) < share).astype(np.float64)
        y, x = rng.integers(0, step[0]), rng.integers(0, step[1])
        masks[i] = resize_map(grid, large)[y : y + height, x : x + width]
    return masks


METHOD = Method(
    name="rise",
    run=rise,
    help="RISE (Petsiuk et al., BMVC 2018): random masks, weighted by the model's confidence under them.",
    options=(
        Option("masks", 4000, "How many.", Range(low=1)),
        Option("cells", 7, "Of a mask along each side before it is enlarged.", Range(low=1)),
        Option("share", 0.5, "Of cells that show the picture.", Range(0, 1, above=True, below=True)),
        Option("seed", 0, "Of the masks.", Range(low=0)),
    ),
    graph="forward",
)
