"""The gate of half precision: on real pictures, explanations by float16 scores against those by float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sise_rt.bundle import WEIGHTS
from sise_rt.errors import ParityError
from sise_rt.manifest import HalfPrecision
from sise_rt.phases.gate import Agreement, Difference, Rounding, agreement, difference
from sise_rt.phases.masked_picture import MASKS, mask_picture
from sise_rt.running.sessions import Sessions, available_threads
from sise_rt.wording import counted

from ..graphs.half import LARGEST, rounded, with_peaks
from ..ir.cpu_sessions import Level, open_session, quiet_options
from ..ir.network import Graph, Network, to_model

HEADROOM = 2  # other pictures and masks may go higher than those of the gate
ROUNDING = Rounding("float16 scores", "export it in fp32", "gate_images")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Gate(Agreement):
    """How far explanations by float16 scores are from those by float32.

    Attributes:
        peak: the largest absolute value that float16 had to hold.
    """

    peak: float

    def record(self) -> HalfPrecision:
        """The manifest's entry."""
        peak = float(f"{self.peak:.5g}")
        return HalfPrecision(len(self.pictures), self.left_out, MASKS, **self.figures(), peak=peak)


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
    differences: list[tuple[str, Difference]] = []
    highest = 0.0
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
                f"allowed, as other pictures may go higher): {ROUNDING.instead}",
                settings=("precision",),
            )
        for session in [half] if done else [half, sessions.open("score").session]:
            between = difference(picture, by_exact, picture.scores(session), ROUNDING)
            if between is not None:
                differences.append((str(path), between))
                highest = max(highest, peak)
    if progress is not None:
        progress(len(pictures), len(pictures))
    return _judged(differences, len(pictures), highest)


def _open(sessions: Sessions, network: Network, graph: Graph, offsets: Mapping[str, int]) -> Any:
    """A session for a graph that the bundle does not have, with the bundle's weights."""
    options = quiet_options(Level.ORT_ENABLE_ALL)
    options.intra_op_num_threads = available_threads()
    model = to_model(graph, network, location=WEIGHTS, offsets=dict(offsets))
    return open_session(model.SerializeToString(), options, sessions.folder)


def _judged(differences: Sequence[tuple[str, Difference]], pictures: int, peak: float) -> Gate:
    """The gate's result.

    Raises:
        ParityError: it is not good enough, or there is none.
    """
    result = Gate(**vars(agreement(differences, pictures, ROUNDING)), peak=peak)
    if failed := result.failures():
        raise ParityError(
            f"{ROUNDING.scores} are refused: on {counted(len(result.pictures), 'picture')}, "
            f"{'; '.join(failed)}; confidences differ by up to {result.confidence:.2g}: {ROUNDING.instead}",
            settings=("precision",),
        )
    return result
