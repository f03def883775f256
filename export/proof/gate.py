"""The gate of half precision: on real pictures, explanations by float16 scores against those by float32."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sise_rt.bundle import BEST, WEIGHTS, Manifest
from sise_rt.errors import ModelError, ParityError
from sise_rt.phases.fusion import fuse, normalise, otsu
from sise_rt.phases.masks import constant_maps
from sise_rt.phases.scoring import Scores, usable_maps, visualization_map
from sise_rt.pictures.placement import preprocess
from sise_rt.pictures.reading import load_image
from sise_rt.running.sessions import Sessions, available_threads, run, run_features
from sise_rt.wording import counted

from ..graphs.half import LARGEST, rounded, with_peaks
from ..ir.cpu_sessions import Level, open_session, quiet_options
from ..ir.network import Graph, Network, to_model

MASKS = 100  # of each picture, those that weigh most; all of them would take minutes
BATCH = 4  # masks a pass, so that networks of large maps fit into memory
CORRELATION, WORST_CORRELATION, JACCARD = 0.99, 0.95, 0.98
HEADROOM = 2  # other pictures and masks may go higher than those of the gate
SCORES = ("confidences", "minimum", "maximum", "area")  # outputs of a score graph
INSTEAD = "export with --precision fp32"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Gate:
    """What the gate found.

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

    def record(self) -> dict[str, Any]:
        """The manifest's entry."""
        figures = {
            "correlation": np.mean(self.correlations),
            "lowest_correlation": min(self.correlations),
            "jaccard": np.mean(self.jaccards),
            "confidence": self.confidence,
            "peak": self.peak,
        }
        counts = {"images": len(self.pictures), "left_out": self.left_out, "masks": MASKS}
        return counts | {name: float(f"{value:.5g}") for name, value in figures.items()}

    def failures(self) -> list[str]:
        """What is not as it has to be, a clause each."""
        mean, jaccard = np.mean(self.correlations), np.mean(self.jaccards)
        worst = int(np.argmin(self.correlations))
        lowest, where = self.correlations[worst], self.pictures[worst]
        found = (
            (mean, CORRELATION, "explanations correlate at {:.4f} in the mean"),
            (lowest, WORST_CORRELATION, f"they correlate at {{:.4f}} for {where}"),
            (jaccard, JACCARD, "the sets of kept maps have a Jaccard index of {:.4f}"),
        )
        return [f"{text.format(x)} ({least} is needed)" for x, least, text in found if not x >= least]


def gate(
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
    features = sessions.open_features()
    found: list[tuple[str, _Difference]] = []
    for done, path in enumerate(pictures):
        if progress is not None:
            progress(done, len(pictures))
        picture = _picture(sessions.manifest, features, path, network.batch or BATCH)
        by_exact, peaks = picture.scores(exact)
        if not peaks.max() <= LARGEST / HEADROOM:
            raise ParityError(
                f"float16 scores are refused: tensor {tensors[int(peaks.argmax())]!r} reaches "
                f"{peaks.max():.3g} on {path}, and float16 ends at {LARGEST:.0f} (half of that is "
                f"allowed, as other pictures may go higher): {INSTEAD}"
            )
        opened = [half] if done else [half, sessions.open_score()]
        for session in opened:
            difference = picture.difference(by_exact, picture.scores(session)[0], float(peaks.max()))
            if difference is not None:
                found.append((str(path), difference))
    if progress is not None:
        progress(len(pictures), len(pictures))
    return _judged(found, len(pictures))


@dataclass(frozen=True)
class _Difference:
    """Between two explanations of a picture, and the picture's peak."""

    correlation: float
    jaccard: float
    confidence: float
    peak: float


@dataclass(frozen=True)
class _Picture:
    """What scoring starts from: the graph's inputs, feature maps (K, h, w) and kept maps, bool (K,)."""

    name: str
    inputs: dict[str, np.ndarray]
    maps: list[np.ndarray]
    kept: list[np.ndarray]
    batch: int

    def scores(self, session: Any) -> tuple[list[Scores | None], np.ndarray]:
        """Each block's scores by a score graph, and the peaks (P,) if it has them."""
        found: list[Scores | None] = []
        peaks = []
        for maps, keep in zip(self.maps, self.kept, strict=True):
            index, parts = np.flatnonzero(keep), []
            for start in range(0, len(index), self.batch):
                masks = maps[index[start : start + self.batch], None]
                *columns, last = run(session, self.inputs | {"maps": masks})
                if len(columns) == len(SCORES):
                    peaks.append(last)
                else:
                    columns.append(last)
                parts.append(columns)
            found.append(Scores(index, *map(np.concatenate, zip(*parts, strict=True))) if parts else None)
        return found, np.max(peaks, axis=0) if peaks else np.zeros(1)

    def usable(self, scores: Sequence[Scores | None]) -> list[np.ndarray]:
        """The maps that enter the explanation, bool (K,) of each block."""
        return [usable_maps(keep, scored) for keep, scored in zip(self.kept, scores, strict=True)]

    def explanation(self, scores: Sequence[Scores | None]) -> np.ndarray | None:
        """The explanation (H, W), None if there is none."""
        size = self.inputs["image"].shape[2:]
        visual = [
            None if scored is None else visualization_map(maps, scored, 0, usable, size)
            for maps, scored, usable in zip(self.maps, scores, self.usable(scores), strict=True)
        ]
        normal = [u for v in visual if v is not None and (u := normalise(v)) is not None]
        return normalise(fuse(normal, otsu)) if normal else None

    def difference(
        self, exact: Sequence[Scores | None], half: Sequence[Scores | None], peak: float
    ) -> _Difference | None:
        """Between the two precisions; None if neither explains the picture.

        Raises:
            ParityError: a confidence is no number.
        """
        pairs = [(e.confidences, h.confidences) for e, h in zip(exact, half, strict=True) if e and h]
        if bad := sum(int((~np.isfinite(h)).any(axis=1).sum()) for _, h in pairs):
            raise ParityError(
                f"float16 scores are refused: {bad} of {sum(map(np.sum, self.kept))} confidences of masked "
                f"copies of {self.name} are no numbers: {INSTEAD}"
            )
        one, other = self.explanation(exact), self.explanation(half)
        if one is None and other is None:
            return None
        used = [np.concatenate(self.usable(scores)) for scores in (exact, half)]
        return _Difference(
            0.0 if one is None or other is None else float(np.corrcoef(one.ravel(), other.ravel())[0, 1]),
            float((used[0] & used[1]).sum() / (used[0] | used[1]).sum()),
            max(float(np.abs(e - h).max()) for e, h in pairs),
            peak,
        )


def _picture(manifest: Manifest, features: Any, path: Path, batch: int) -> _Picture:
    """A picture with its features for the class with the highest logit."""
    image, _ = preprocess(load_image(path, channels=manifest.preprocess.input_size[0]), manifest.preprocess)
    maps, alphas, logits = run_features(features, manifest, image, np.array([BEST]))
    if not all(np.isfinite(values).all() for values in (logits, *maps, *alphas)):
        raise ModelError(f"the model's feature maps, gradients or logits are not finite for {path}")
    blocks = [block[0] for block in maps]
    kept = strongest(blocks, [alpha[0] for alpha in alphas])
    return _Picture(str(path), {"image": image, "targets": logits.argmax(axis=1)}, blocks, kept, batch)


def strongest(
    maps: Sequence[np.ndarray], alphas: Sequence[np.ndarray], count: int = MASKS
) -> list[np.ndarray]:
    """Which maps are the gate's masks: those with the highest share of their block's highest gradient score.

    A higher mu would leave the same ones. Without gradient scores, they are evenly drawn.

    Args:
        maps: (K, h, w) of each block.
        alphas: (K,) of each block, or empty.
        count: how many there are at most.

    Returns:
        bool (K,) of each block.
    """
    flat = np.concatenate([constant_maps(block) for block in maps])
    if alphas:
        positive = [np.maximum(alpha, 0) for alpha in alphas]
        shares = np.concatenate([alpha / max(alpha.max(), np.finfo(alpha.dtype).tiny) for alpha in positive])
        order = np.argsort(-shares, kind="stable")
        chosen = order[(shares > 0)[order] & ~flat[order]][:count]
    else:
        shaped = np.flatnonzero(~flat)
        chosen = shaped[np.unique(np.arange(count) * len(shaped) // count)] if len(shaped) else shaped
    kept = np.zeros(len(flat), bool)
    kept[chosen] = True
    return np.split(kept, np.cumsum([len(block) for block in maps])[:-1])


def _open(sessions: Sessions, network: Network, graph: Graph, offsets: Mapping[str, int]) -> Any:
    """A session for a graph that the bundle does not have, with the bundle's weights."""
    options = quiet_options(Level.ORT_ENABLE_ALL)
    options.intra_op_num_threads = available_threads()
    model = to_model(graph, network, location=WEIGHTS, offsets=dict(offsets))
    return open_session(model.SerializeToString(), options, sessions.folder)


def _judged(found: Sequence[tuple[str, _Difference]], pictures: int) -> Gate:
    """The gate's result; where a picture has several differences, the worst of each kind counts.

    Raises:
        ParityError: it is not good enough, or there is none.
    """
    if not found:
        raise ParityError(
            f"float16 scores cannot be judged: nothing explains any of the {pictures} pictures: give "
            "--gate-images of the kind that the model is for"
        )
    by_name: dict[str, list[_Difference]] = {}
    for name, difference in found:
        by_name.setdefault(name, []).append(difference)
    result = Gate(
        tuple(by_name),
        tuple(min(d.correlation for d in own) for own in by_name.values()),
        tuple(min(d.jaccard for d in own) for own in by_name.values()),
        max(d.confidence for _, d in found),
        max(d.peak for _, d in found),
        pictures - len(by_name),
    )
    if failed := result.failures():
        raise ParityError(
            f"float16 scores are refused: on {counted(len(by_name), 'picture')}, {'; '.join(failed)}; "
            f"confidences differ by up to {result.confidence:.2g}: {INSTEAD}"
        )
    return result
