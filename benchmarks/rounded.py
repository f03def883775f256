"""Rounded scores against exact ones: bfloat16, int8, a tenth of the masks, and corrections by exact ones.

    python -m benchmarks.rounded BUNDLE -o REPORT [--limit 100] [--data FOLDER --format voc --only LIST]
    python -m benchmarks.evidence REPORT --part odd
    python -m benchmarks.rounded BUNDLE -o REPORT --seconds 20

Every mask of a picture is scored once in each arithmetic: float32 by ONNX Runtime's CPU provider, bfloat16
and int8 by OpenVINO, int8 by ONNX Runtime where `--arithmetics` asks for it. `-ends` has the network's first
and last layers in float32. Features are float32 in all, so the masks are the same, and variants are made of
these scores. Only pictures whose class is predicted right count; choose by the even ones and report the odd
ones. REPORT gets one line a picture, and the quantised networks; run it again to go on after an interruption.
int8 is calibrated on 50 other pictures: of those that LIST leaves out, or of the dataset's last third.

`--seconds` prints what a mask costs in each arithmetic instead, over float32: medians of so many turns, in
batches of 8. OpenVINO is the package of that name, which takes processors of any maker; its plug-in for ONNX
Runtime has the same library inside.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import onnxruntime

import sise_rt
from benchmarks.budget import fused_scores, quiet
from benchmarks.int8 import quantise
from benchmarks.timing import spread
from benchmarks.variants import Variant, measure, parser
from sise_rt.evaluation.datasets import read_dataset
from sise_rt.methods import Call, Query
from sise_rt.methods.limits import Limit
from sise_rt.phases.budget import PartialScoring
from sise_rt.phases.features import Features, extract
from sise_rt.phases.fusion import normalise
from sise_rt.phases.masks import constant_maps, select
from sise_rt.phases.scoring import Scores
from sise_rt.phases.surrogate import log_odds, one_blas_thread, pooled_masks, predict, sigmoid
from sise_rt.pictures.picture import Picture
from sise_rt.running.engine import Engine
from sise_rt.running.sessions import available_threads

BATCH, SHARE, CALIBRATE = 8, 0.1, 50
EXACT, BF16 = "float32", "bf16"
INT8 = {"int8": True, "int8-ends": False}  # whether the first and last layers are int8 too
BY_ORT = "-ort"
ARITHMETICS = (BF16, *INT8, *(f"{name}{BY_ORT}" for name in INT8))
USUAL = (BF16, *INT8)
MORE = (BF16, "int8-ends")  # of which a tenth and corrections are made

Blocks = list[Scores | None]
"""The scores of each block's masks; None for a block without any."""
Run = Callable[[dict[str, np.ndarray]], np.ndarray]
"""From a score graph's inputs to the confidences (M, 1)."""


def by_onnxruntime(graph: Path) -> Run:
    """A score graph on ONNX Runtime's CPU provider."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_threads()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(["confidences"], inputs)[0]


def by_openvino(graph: Path, hint: str) -> Run:
    """A score graph on OpenVINO's CPU device; what is not int8 is `f32` or `bf16`, as the hint says."""
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": available_threads(),
        "NUM_STREAMS": 1,
    }
    compiled = openvino.Core().compile_model(graph, "CPU", settings)
    return lambda inputs: np.array(compiled(inputs)["confidences"])


def opened(name: str, bundle: Path, folder: Path) -> Run:
    """One of the arithmetics; the quantised graphs lie in the folder."""
    if name == BF16:
        return by_openvino(bundle / "score.onnx", BF16)
    graph = int8_file(folder, name)
    return by_onnxruntime(graph) if name.endswith(BY_ORT) else by_openvino(graph, "f32")


def int8_file(folder: Path, name: str) -> Path:
    """Where a quantised score graph lies."""
    return folder / f"{name.removesuffix(BY_ORT)}.onnx"


def confidences(run: Run, image: np.ndarray, target: int, maps: np.ndarray) -> np.ndarray:
    """Of masked copies (M, 1) by maps (M, h, w), which span [0, 1] when they enter, as in `RoundedScorer`."""
    low, high = (f(axis=(1, 2), keepdims=True) for f in (maps.min, maps.max))
    masks = ((maps - low) / (high - low))[:, None].astype(np.float32)
    inputs = {"image": image, "targets": np.array([target])}
    parts = [run({**inputs, "maps": masks[start : start + BATCH]}) for start in range(0, len(masks), BATCH)]
    return np.concatenate(parts)


class Table:
    """Scores of all masks in the place of a `MaskedScoring`, for a policy that asks for some of them.

    Attributes:
        asked: blocks, and which of their maps.
    """

    targets, probabilities = 1, True

    def __init__(self, blocks: Blocks):
        self._blocks = blocks
        self.asked: list[tuple[int, np.ndarray]] = []

    def score(self, chosen: Sequence[tuple[int, np.ndarray]], _: Callable[[int], None]) -> None:
        """Take note of maps."""
        self.asked += chosen

    def so_far(self, block: int, index: np.ndarray) -> Scores | None:
        """The scores of some of a block's maps; None of none."""
        scores = self._blocks[block]
        return scores.of(index) if scores is not None and len(index) else None


class Masks:
    """A picture's masks, and what is made of tables of their scores.

    Args:
        features: of the picture.
        size: (H, W) of the input.

    Attributes:
        chosen: which maps of each block are masks.
        passes: of the features.
    """

    def __init__(self, features: Features, size: tuple[int, int]):
        self._features, self._size, self.passes = features, size, features.passes
        self.chosen = [
            np.flatnonzero(select(alpha[0], 0.0) & ~constant_maps(maps))
            for maps, alpha in zip(features.maps, features.alphas, strict=True)
        ]
        self.count = sum(map(len, self.chosen))
        self.tenth = Limit(SHARE).masks(self.count, features.passes)
        own = [maps[i] for maps, i in zip(features.maps, self.chosen, strict=True) if len(i)]
        self._points = np.concatenate([pooled_masks(maps) for maps in own])

    def map(self, blocks: Blocks) -> np.ndarray | None:
        """The map (H, W) of scores; None if nothing can be fused."""
        return fused_scores(self._features, blocks, self._size)

    def of_tenth(self, blocks: Blocks) -> tuple[Blocks, np.ndarray]:
        """The product's budget on these scores, and which masks it asks for, places among all."""
        features, table = self._features, Table(blocks)
        partly = PartialScoring(table, features.maps, self.chosen, features.alphas, self._size)
        for _ in partly.score(self.tenth, quiet):
            pass
        starts = np.cumsum([0, *map(len, self.chosen)])
        places = [starts[b] + np.searchsorted(self.chosen[b], index) for b, index in table.asked]
        return partly.scores(), np.concatenate(places)

    def corrected(self, rounded: Blocks, exact: Blocks, where: np.ndarray, linear: bool) -> Blocks:
        """Rounded scores, corrected by a regression on some exact ones.

        Args:
            rounded: of all masks.
            exact: likewise.
            where: the masks whose exact score may be used, places among all.
            linear: whether log-odds are corrected by a straight line through them, or by a Gaussian process
                over the masks.
        """
        before, truth = (log_odds(np.concatenate([b.confidences for b in t if b])) for t in (rounded, exact))
        if linear:
            slope, offset = np.polyfit(before[where, 0], truth[where, 0], 1)
            after = slope * before + offset
        else:
            with one_blas_thread():
                after = before + predict(self._points, where, (truth - before)[where])
        after[where] = truth[where]
        values = iter(np.split(sigmoid(after).astype(np.float32), np.cumsum([len(i) for i in self.chosen])))
        return [
            new if scores is None else replace(scores, confidences=new)
            for scores, new in ((s, next(values)) for s in exact)
        ]


def variants(
    runs: Mapping[str, Run], reserved: set[str], engine: Engine, picture: Picture, target: int, _: int
) -> Iterator[Variant]:
    """Each variant, with its likeness to exact SISE."""
    if Path(picture.name).name in reserved:
        raise SystemExit(f"int8 is calibrated on {picture.name}: lower --limit")
    features = extract(engine, picture.tensor, np.array([target]))
    query = Query(engine, picture, np.array([target]), features.logits)
    scoring, masks = Call(query, features, batch_size=BATCH).scoring(), Masks(features, query.size)
    tables: dict[str, Blocks] = {
        EXACT: [scoring.scores(b, i, quiet) if len(i) else None for b, i in enumerate(masks.chosen)]
    }
    for name, run in runs.items():
        tables[name] = [
            scores
            and replace(
                scores, confidences=confidences(run, query.image, target, features.maps[b][scores.index])
            )
            for b, scores in enumerate(tables[EXACT])
        ]
    exact = masks.map(tables[EXACT])
    if exact is None:
        return
    for name, blocks, passes in made_of(masks, tables):
        map_ = masks.map(blocks)
        if map_ is not None:
            yield Variant(name, map_, masks.passes + passes, likeness(map_, exact))


def made_of(masks: Masks, tables: Mapping[str, Blocks]) -> Iterator[tuple[str, Blocks, int]]:
    """Names, scores and how many masks were scored, in whichever arithmetic, for each variant."""
    exact, tenth = tables[EXACT], f"x {SHARE:g}"
    yield "exact", exact, masks.count
    some, where = masks.of_tenth(exact)
    yield f"{EXACT} {tenth}", some, masks.tenth
    for name, blocks in tables.items():
        if name != EXACT:
            yield name, blocks, masks.count
        if name in MORE:
            yield f"{name} {tenth}", masks.of_tenth(blocks)[0], masks.tenth
            for linear, way in ((True, "a line"), (False, "a process")):
                corrected = masks.corrected(blocks, exact, where, linear)
                yield f"{name} corrected by {way}", corrected, masks.count + masks.tenth


def likeness(map_: np.ndarray, exact: np.ndarray) -> dict[str, float]:
    """Pearson's correlation of two maps, and the IoU of their regions above half of the range."""
    halves = [u > 0.5 for u in map(normalise, (map_, exact)) if u is not None]
    if len(halves) < 2:
        return {"correlation": 0.0, "iou": 0.0}
    one, other = halves
    return {
        "correlation": float(np.corrcoef(map_.ravel(), exact.ravel())[0, 1]),
        "iou": float((one & other).sum() / (one | other).sum()),
    }


def calibration_pictures(data: Path, format_: str, only: Path | None) -> list[Path]:
    """Those that int8 is calibrated on, evenly drawn of the pictures that no variant is measured on."""
    samples = read_dataset(data, format_).samples
    listed = set(only.read_text("utf-8").splitlines()) if only else set()
    if only:
        free = [s for s in samples if Path(s.image).name not in listed and s.image not in listed]
    else:
        free = samples[2 * len(samples) // 3 :]
    return [data / free[k * len(free) // CALIBRATE].image for k in range(min(CALIBRATE, len(free)))]


def ratios(engine: Engine, runs: Mapping[str, Run], turns: int) -> Iterator[str]:
    """What a mask costs in each arithmetic over what it costs exactly; they take turns."""
    random, shape = np.random.default_rng(0), engine.manifest.preprocess.input_size
    block = engine.manifest.blocks[-2]
    image = random.standard_normal((1, *shape)).astype(np.float32)
    maps = random.random((BATCH, block.height, block.width), np.float32)
    scorer = engine.scorer(image, np.zeros(1, np.int64))
    calls: dict[str, Callable[[], object]] = {EXACT: lambda: scorer(maps)}
    calls |= {name: partial(confidences, run, image, 0, maps) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(2 + turns):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= 2:
                seconds[name].append(time.perf_counter() - start)
    yield f"{engine.manifest.name}: {1e3 * median(seconds[EXACT]) / BATCH:.1f} ms a mask in {EXACT}"
    for name, taken in seconds.items():
        over = [one / other for one, other in zip(taken, seconds[EXACT], strict=True)]
        yield f"{name:36} {spread(over)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every picture that is not in the report yet, or seconds."""
    asked = parser(__doc__, 100)
    asked.add_argument("--arithmetics", nargs="+", choices=ARITHMETICS, default=USUAL)
    asked.add_argument("--seconds", type=int, metavar="TURNS", help="print ratios of seconds instead")
    options = asked.parse_args(arguments)
    explainer = sise_rt.load(options.bundle, "cpu")
    pictures = calibration_pictures(options.data, options.format, options.only)
    folder = options.out.with_name(f"{options.out.name}-int8")
    folder.mkdir(parents=True, exist_ok=True)
    for name, ends in INT8.items():
        asked_for = {name, f"{name}{BY_ORT}"} & set(options.arithmetics)
        if asked_for and not int8_file(folder, name).exists():
            quantise(explainer, pictures, int8_file(folder, name), ends=ends)
    runs = {name: opened(name, options.bundle, folder) for name in options.arithmetics}
    if options.seconds:
        print("\n".join(ratios(explainer.engine, runs, options.seconds)))
    else:
        reserved = {path.name for path in pictures}
        measure(f"rounded {' '.join(runs)}", options, partial(variants, runs, reserved))


if __name__ == "__main__":
    main()
