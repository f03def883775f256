"""The gate of half precision: on real pictures, explanations by float16 scores against those by float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sise_rt.bundle import WEIGHTS
from sise_rt.errors import ParityError
from sise_rt.manifest import HalfPrecision
from sise_rt.running.sessions import Sessions, available_threads
from sise_rt.wording import counted

from ..graphs.half import LARGEST, rounded, with_peaks
from ..ir.cpu_sessions import Level, open_session, quiet_options
from ..ir.network import Graph, Network, to_model
from .masked_picture import MASKS, MaskedPicture, Scored, mask_picture

CORRELATION, WORST_CORRELATION, JACCARD = 0.99, 0.95, 0.98
HEADROOM = 2  # other pictures and masks may go higher than those of the gate
INSTEAD = "export it in fp32"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Gate:
    """How far explanations by float16 scores are from those by float32.

    Attributes:
        pictures: names, in the order of the other figures.
        correlations: Pearson's, of the explanation maps by the two precisions.
        jaccards: of the two sets of feature maps that entered them.
        confidence: the largest difference of a masked copy's confidence.
        peak: the largest absolute value that float16 had to hold.
        left_out: how many pictures have no explanation in either precision.
    """

    pictures: tuple[str, ...]
    correlations: tuple[float, ...]
    jaccards: tuple[float, ...]
    confidence: float
    peak: float
    left_out: int

    def record(self) -> HalfPrecision:
        """The manifest's entry."""
        figures = {
            "correlation": np.mean(self.correlations),
            "lowest_correlation": min(self.correlations),
            "jaccard": np.mean(self.jaccards),
            "confidence": self.confidence,
            "peak": self.peak,
        }
        short = {name: float(f"{value:.5g}") for name, value in figures.items()}
        return HalfPrecision(len(self.pictures), self.left_out, MASKS, **short)

    def failures(self) -> list[str]:
        """What is not as it has to be, a clause each."""
        mean, jaccard = np.mean(self.correlations), np.mean(self.jaccards)
        worst = int(np.argmin(self.correlations))
        lowest, where = self.correlations[worst], self.pictures[worst]
        figures = (
            (mean, CORRELATION, "explanations correlate at {:.4f} in the mean"),
            (lowest, WORST_CORRELATION, f"they correlate at {{:.4f}} for {where}"),
            (jaccard, JACCARD, "the sets of kept maps have a Jaccard index of {:.4f}"),
        )
        return [f"{text.format(x)} ({least} is needed)" for x, least, text in figures if not x >= least]


def judge(
    sessions: Sessions,
    network: Network,
    graphs: tuple[Graph, Graph],
    offsets: Mapping[str, int],
    pictures: Sequence[Path],
    progress: Progress | None = None,
) -> Gate:
    """Explain pictures by both precisions, each with the same masks, and compare.

    The float16 scores are those of a GPU, which rounds every result (`half.rounded`); for the first picture,
    those of the bundle's own graph on this machine as well, and the worse ones count.

    Args:
        sessions: of the bundle, on the CPU.
        network: that the graphs are of.
        graphs: the score graph in float32, and with its network in float16, which the bundle has.
        offsets: of the weights in the bundle's file, from `write_graphs`.
        pictures: of the kind that the model is for, at least one.
        progress: called with (pictures done, pictures).

    Raises:
        ParityError: explanations differ, or a picture takes a tensor beyond float16; says by how much.
        ImageError: a picture cannot be read.
        ModelError: the model cannot be run, or its numbers are not finite, for a picture.
    """
    reference, tensors = with_peaks(network, *graphs)
    exact = _open(sessions, network, reference, offsets)
    half = _open(sessions, network, rounded(network, graphs[1]), offsets)
    features = sessions.open("features")
    differences: list[tuple[str, _Difference]] = []
    for done, path in enumerate(pictures):
        if progress is not None:
            progress(done, len(pictures))
        picture = mask_picture(sessions, features, path)
        by_exact = picture.scores(exact)
        peak = float(by_exact.peaks.max())
        if not peak <= LARGEST / HEADROOM:
            raise ParityError(
                f"float16 scores are refused: tensor {tensors[int(by_exact.peaks.argmax())]!r} reaches "
                f"{peak:.3g} on {path}, and float16 ends at {LARGEST:.0f} (half of that is "
                f"allowed, as other pictures may go higher): {INSTEAD}",
                settings=("precision",),
            )
        for session in [half] if done else [half, sessions.open("score").session]:
            difference = _difference(picture, by_exact, picture.scores(session), peak)
            if difference is not None:
                differences.append((str(path), difference))
    if progress is not None:
        progress(len(pictures), len(pictures))
    return _judged(differences, len(pictures))


@dataclass(frozen=True)
class _Difference:
    """Between two explanations of a picture, and the picture's peak."""

    correlation: float
    jaccard: float
    confidence: float
    peak: float


def _difference(picture: MaskedPicture, exact: Scored, half: Scored, peak: float) -> _Difference | None:
    """Between the two precisions; None if neither explains the picture.

    Raises:
        ParityError: a confidence is no number.
    """
    both = zip(exact.blocks, half.blocks, strict=True)
    pairs = [(e.confidences, h.confidences) for e, h in both if e and h]
    if bad := sum(int((~np.isfinite(h)).any(axis=1).sum()) for _, h in pairs):
        raise ParityError(
            f"float16 scores are refused: {bad} of {sum(map(np.sum, picture.kept))} confidences of masked "
            f"copies of {picture.name} are no numbers: {INSTEAD}",
            settings=("precision",),
        )
    one, other = picture.explanation(exact), picture.explanation(half)
    if one is None and other is None:
        return None
    used = [np.concatenate(picture.usable(scored)) for scored in (exact, half)]
    return _Difference(
        0.0 if one is None or other is None else float(np.corrcoef(one.ravel(), other.ravel())[0, 1]),
        float((used[0] & used[1]).sum() / (used[0] | used[1]).sum()),
        max(float(np.abs(e - h).max()) for e, h in pairs),
        peak,
    )


def _open(sessions: Sessions, network: Network, graph: Graph, offsets: Mapping[str, int]) -> Any:
    """A session for a graph that the bundle does not have, with the bundle's weights."""
    options = quiet_options(Level.ORT_ENABLE_ALL)
    options.intra_op_num_threads = available_threads()
    model = to_model(graph, network, location=WEIGHTS, offsets=dict(offsets))
    return open_session(model.SerializeToString(), options, sessions.folder)


def _judged(differences: Sequence[tuple[str, _Difference]], pictures: int) -> Gate:
    """The gate's result; where a picture has several differences, the worst of each kind counts.

    Raises:
        ParityError: it is not good enough, or there is none.
    """
    if not differences:
        raise ParityError(
            f"float16 scores cannot be judged: nothing explains any of the {pictures} pictures: give some of "
            "the kind that the model is for",
            settings=("gate_images",),
        )
    by_name: dict[str, list[_Difference]] = {}
    for name, difference in differences:
        by_name.setdefault(name, []).append(difference)
    result = Gate(
        tuple(by_name),
        tuple(min(d.correlation for d in own) for own in by_name.values()),
        tuple(min(d.jaccard for d in own) for own in by_name.values()),
        max(d.confidence for _, d in differences),
        max(d.peak for _, d in differences),
        pictures - len(by_name),
    )
    if failed := result.failures():
        raise ParityError(
            f"float16 scores are refused: on {counted(len(by_name), 'picture')}, {'; '.join(failed)}; "
            f"confidences differ by up to {result.confidence:.2g}: {INSTEAD}",
            settings=("precision",),
        )
    return result
