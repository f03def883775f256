"""Whether a single file explains as the runtime does by the bundle that it is made with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np

from sise_rt.bundle import BEST
from sise_rt.errors import ParityError
from sise_rt.phases.fusion import fuse, normalise, otsu
from sise_rt.phases.masked_picture import MASKS, MaskedPicture, Scored, mask_image
from sise_rt.phases.scoring import visualization_map, zero_of
from sise_rt.pictures.placement import preprocess
from sise_rt.pictures.resizing import resize_map
from sise_rt.running.consistency import relative_error
from sise_rt.running.finite import require_finite
from sise_rt.running.logits import confidences
from sise_rt.running.one_graph import Explained, SingleFile
from sise_rt.running.passes import OpenGraph, run_features
from sise_rt.running.probe import probe_tensor
from sise_rt.running.sessions import Sessions

from ..ir.cpu_sessions import Level, open_session, quiet_options
from .parity import probe_picture

PICTURES = 3
OFF = 1e-3  # by how much a pixel of an explanation may differ
PREPARED = 1e-2  # of logits; a pixel may be rounded to another one of 256 values
ALLOWED = {  # a pixel on the other side of a threshold is off, and no error
    "confidence": 1e-4,
    "visualization_maps": 1e-3,
    "pixels_off": 1e-2,
}


@dataclass(frozen=True)
class Difference:
    """Between a single file's explanations and the runtime's.

    Attributes:
        confidence: the largest.
        visualization_maps: likewise, 0 where there are none.
        pixels_off: the largest share of pixels whose explanations differ by more than a thousandth.
    """

    confidence: float = 0.0
    visualization_maps: float = 0.0
    pixels_off: float = 0.0

    def largest(self, other: Difference) -> Difference:
        """The larger ones of two."""
        mine, others = asdict(self), asdict(other)
        return Difference(**{name: max(value, others[name]) for name, value in mine.items()})


def compare(single: SingleFile, sessions: Sessions) -> Difference:
    """Explain three made pictures by a single file and by its bundle's graphs, and compare.

    Of SISE at most 100 masks are scored of each, those with the highest share of their block's highest score.

    Args:
        single: made of the same network.
        sessions: of the bundle, on the CPU.

    Raises:
        ParityError: they differ; says in what.
        ModelError: one of them cannot be run, or its numbers are not finite.
    """
    by_runtime = _by_sise if single.facts.method == "sise" else _by_cam
    largest = Difference()
    for difference in by_runtime(single, sessions):
        largest = largest.largest(difference)
    for name, value in asdict(largest).items():
        if not value <= ALLOWED[name]:
            raise ParityError(
                f"the single file differs from the runtime: {name.replace('_', ' ')} by {value:.1e}, and "
                f"{ALLOWED[name]:.0e} is allowed: export a bundle instead"
            )
    return largest


def compare_preparation(single: SingleFile, sessions: Sessions) -> None:
    """Hold the logits of pictures of odd sizes, prepared inside the graph, against those by the runtime.

    Raises:
        ParityError: they differ.
        ModelError: one of them cannot be run.
    """
    manifest, features = sessions.manifest, sessions.open("features")
    for seed, (height, width) in enumerate(((301, 467), (97, 64), (640, 480))):
        pixels = np.ascontiguousarray(probe_picture(3, height, width, seed=seed).transpose(1, 2, 0))
        image, _ = preprocess(pixels, manifest.preprocess)
        expected = run_features(features, manifest, image, np.array([BEST])).logits[0]
        error = relative_error(single.explain(pixels, max_masks=1).logits, expected)
        if not error <= PREPARED:
            raise ParityError(
                f"preprocessing inside the graph changes the logits of a picture of {width} x {height} by "
                f"{error:.1e}, and {PREPARED:.0e} is allowed: leave it to the caller"
            )


def _images(sessions: Sessions) -> Iterator[tuple[str, np.ndarray]]:
    spec = sessions.manifest.preprocess
    for seed in range(PICTURES):
        yield f"made picture {seed}", probe_tensor(probe_picture(*spec.input_size, seed=seed), spec)


def _by_sise(single: SingleFile, sessions: Sessions) -> Iterator[Difference]:
    features, score = _features(sessions), sessions.open("score")
    probabilities = sessions.manifest.activation != "none"
    for name, image in _images(sessions):
        picture = mask_image(sessions, features, image, name)
        scored = picture.scores(score.session)
        own = single.explain(image, max_masks=MASKS)
        _require_same_masks(picture, scored, own)
        maps = _normalised_maps(picture, scored, own.map.shape, probabilities)
        usable = [map_ for map_ in maps if map_ is not None]
        expected = normalise(fuse(usable, otsu)) if usable else None
        visual = np.array([np.zeros(own.map.shape) if map_ is None else map_ for map_ in maps])
        yield Difference(
            _confidence_error(own, sessions),
            float(np.abs(visual - own.visualization_maps).max()),
            _share_off(own.map, expected),
        )


def _features(sessions: Sessions) -> OpenGraph:
    """The features as the first turn of the Loop computes them: by weights that are not laid out in advance.

    Where a value is within rounding of 0 or 6, the slope of a ReLU or ReLU6 is a matter of the kernel, and so
    is a gradient score; the runtime's own would select another mask now and then.
    """
    spec = sessions.specs["features"]
    options = quiet_options(Level.ORT_ENABLE_EXTENDED)
    session = open_session(sessions.read(spec.path), options, sessions.folder)
    return OpenGraph(session, spec, sessions.folder / spec.path)


def _require_same_masks(picture: MaskedPicture, scored: Scored, own: Explained) -> None:
    """Refuse an explanation of another class, or by other masks.

    Raises:
        ParityError: says which.
    """
    words = "class {} by {} masks, of which {} enter the blocks' maps"
    count, used = (sum(int(keep.sum()) for keep in picture.kept), picture.usable(scored))
    expected = (int(picture.inputs["targets"][0]), count, [int(keep.sum()) for keep in used])
    found = (own.target, own.masks, own.used.tolist())
    if found != expected:
        raise ParityError(
            f"of {picture.name} the single file explains {words.format(*found)}, and the runtime "
            f"{words.format(*expected)}: export a bundle instead"
        )


def _normalised_maps(
    picture: MaskedPicture, scored: Scored, size: tuple[int, ...], probabilities: bool
) -> list[np.ndarray | None]:
    """U_b of each block, None of one that is flat."""
    usable = picture.usable(scored)
    own = [
        scores.of(np.flatnonzero(keep)) if scores is not None and keep.any() else None
        for scores, keep in zip(scored.blocks, usable, strict=True)
    ]
    zero = zero_of(own, 0, probabilities)
    maps: list[np.ndarray | None] = []
    for block, scores, keep in zip(picture.maps, scored.blocks, usable, strict=True):
        v = None
        if scores is not None:
            v = visualization_map(block, scores, 0, keep, (size[0], size[1]), zero=zero)
        maps.append(None if v is None else normalise(v))
    return maps


def _by_cam(single: SingleFile, sessions: Sessions) -> Iterator[Difference]:
    graph = sessions.open("last_block_gradient")
    weigh = {"grad-cam": _mean_gradient, "grad-cam++": _plus_plus}[single.facts.method]
    for _, image in _images(sessions):
        own = single.explain(image)
        yield Difference(
            _confidence_error(own, sessions), 0.0, _share_off(own.map, _cam(graph, image, own, weigh))
        )


def _cam(
    graph: OpenGraph,
    image: np.ndarray,
    own: Explained,
    weigh: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray | None:
    chosen = np.zeros((1, len(own.logits)), np.float32)
    chosen[0, own.target] = 1
    maps, gradient, logits = graph.run({"images": image, "cotangents": chosen})
    require_finite("maps, gradients or logits", "for a made picture", maps, gradient, logits)
    if int(logits.argmax()) != own.target:
        raise ParityError(f"the single file explains class {own.target}, and not {int(logits.argmax())}")
    maps, gradient = maps[0].astype(np.float64), gradient[0].astype(np.float64)
    combined = np.einsum("k,khw->hw", weigh(maps, gradient), maps)
    return normalise(resize_map(np.maximum(combined, 0), own.map.shape[:2]))


def _mean_gradient(_: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    return gradient.mean(axis=(1, 2))


def _plus_plus(maps: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    below = 2 * gradient**2 + gradient**3 * maps.sum(axis=(1, 2), keepdims=True)
    share = np.divide(gradient**2, below, out=np.zeros_like(below), where=below != 0)
    return (share * np.maximum(gradient, 0)).sum(axis=(1, 2))


def _confidence_error(own: Explained, sessions: Sessions) -> float:
    trust = confidences(own.logits, sessions.manifest.activation)[own.target]
    return float(abs(own.confidence - trust) / max(1.0, abs(trust)))


def _share_off(map_: np.ndarray, expected: np.ndarray | None) -> float:
    expected = np.zeros_like(map_) if expected is None else expected
    return float((np.abs(map_ - expected) > OFF).mean())
