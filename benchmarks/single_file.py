"""Single files, which explain themselves, against the runtime: what they give, take and hold.

    python -m benchmarks.single_file [agreement seconds memory pictures degenerate] [--networks NAME ...]

agreement   class, confidence, kept counts, visualization maps and explanation of photos, with mu 0 and 0.5,
            and the file's size. A pixel of an explanation is off where it differs by more than 1e-3; those
            whose visualization map lies within 1e-4 of its threshold are counted apart. Errors are those of
            photos with equal counts: a score within rounding of mu may be kept by one alone.
seconds     of an explanation, the file and the runtime in turns in one process, batches of 8: the clock's,
            and the processor's.
memory      the peak of a process that loads either and explains a photo with mu 0.5.
pictures    photos cut to odd sizes, prepared inside of the file, against those that the runtime prepares.
degenerate  inputs and networks without an explanation.

Five photos, and five rounds, unless --photos and --rounds say otherwise. Figures are medians, with the
smallest and the largest. Needs SISE_RT_MATERIAL.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from statistics import median

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sise_rt.export.single_file import export_single_file

import sise_rt
from benchmarks.material import photos
from benchmarks.speed import run_apart
from benchmarks.timing import exported, spread
from sise_rt.bundle import WEIGHTS
from sise_rt.phases.fusion import import_otsu
from sise_rt.pictures.reading import load_image
from sise_rt.running.one_graph import Explained, open_single_file

DEMO = Path(str(resources.files("sise_rt") / "demo" / "surface.sise"))
NETWORKS = ("resnet18", "squeezenet_v1_0", "keras_mobilenetv2_nhwc", "cifar_resnet20", "demo")
PREPARED = ("squeezenet_v1_0", "keras_mobilenetv2_nhwc")
SLOW = ("resnet18",)  # timed with mu 0.5, which keeps a round below half a minute
MEANING = ("fine", "nothing speaks", "flat", "not finite", "out of range")
BATCH = 8
OFF, NEAR = 1e-3, 1e-4
PICTURES = 10
BY_RUNTIME = """
import sys, sise_rt
explainer = sise_rt.load(sys.argv[1], "cpu")
explainer.explain(sys.argv[2], mu=0.5, batch_size=8)
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
BY_FILE = """
import sys
from pathlib import Path
from sise_rt.pictures.picture import prepare
from sise_rt.running.one_graph import open_single_file
single = open_single_file(Path(sys.argv[1]))
single.explain(prepare(sys.argv[2], single.facts.preprocessing).tensor, mu=0.5)
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@dataclass(frozen=True)
class Asked:
    """What is measured: in which folder bundles and files lie, of which networks, and how often."""

    folder: Path
    networks: Sequence[str]
    photos: int
    rounds: int


def files(name: str, folder: Path, *, inside: bool = False) -> tuple[Path, Path]:
    """A network's bundle and its single file, with preprocessing inside or without; made once."""
    bundle = DEMO if name == "demo" else exported(name, folder)[1]
    file = folder / "single" / f"{name}{'_of_pictures' if inside else ''}.onnx"
    file.parent.mkdir(exist_ok=True)
    if not file.exists():
        export_single_file(bundle, file, preprocessing_inside=inside)
    return bundle, file


def agreement(asked: Asked) -> Iterator[str]:
    """The largest differences over the photos, and sizes."""
    yield (
        f"{'network':24}  mu masks                class   kept    confidence  V        explanation  off  at "
        "thresholds  file MB  allowed"
    )
    for name in asked.networks:
        bundle, file = files(name, asked.folder)
        explainer, single = sise_rt.load(bundle, "cpu"), open_single_file(file)
        allowed = 1.02 * (bundle / WEIGHTS).stat().st_size / 1e6 + 2
        for mu in (0.0, 0.5):
            rows, masks = [], []
            for photo in photos(asked.photos):
                picture = explainer.prepare(photo)
                expected = explainer.explain(picture, mu=mu)
                own = single.explain(picture.tensor, mu=mu)
                rows.append(difference(own, expected))
                masks.append(own.masks)
            same, kept, *_ = zip(*rows, strict=True)
            _, _, *errors, off, near = zip(*([row for row in rows if row[1]] or rows), strict=True)
            confidence, visual, explanation = map(max, errors)
            yield (
                f"{name:24} {mu:3.1f} {spread(masks, '.0f'):20} {sum(same)} of {len(rows)}  {sum(kept)} of "
                f"{len(rows)}  {confidence:10.1e}  {visual:.1e}  {explanation:11.1e}  {sum(off):3d}  "
                f"{sum(near):13d}  {file.stat().st_size / 1e6:7.2f}  {allowed:7.2f}"
            )


def difference(
    own: Explained, expected: sise_rt.Explanation
) -> tuple[bool, bool, float, float, float, int, int]:
    """Whether class and kept counts are the same; errors of confidence, visualization maps and explanation.

    The last one's is of the pixels away from thresholds; then how many of these are off, and of the others.
    """
    near, visual = np.zeros(own.map.shape, bool), 0.0
    for map_, block in zip(own.visualization_maps, expected.blocks, strict=True):
        if block.visualization is None:
            visual = max(visual, float(np.abs(map_).max()))
            continue
        visual = max(visual, float(np.abs(map_ - block.visualization).max()))
        near |= np.abs(block.visualization - import_otsu()(block.visualization, nbins=256)) < NEAR
    error = np.abs(own.map - expected.map)
    away = np.where(near, 0, error)
    return (
        own.target == expected.target,
        own.kept.tolist() == [block.kept for block in expected.blocks],
        abs(own.confidence - expected.confidence),
        visual,
        float(away.max()),
        int((away > OFF).sum()),
        int((error > OFF).sum() - (away > OFF).sum()),
    )


def seconds(asked: Asked) -> Iterator[str]:
    """An explanation of a photo, in turns."""
    yield f"{'network':24}  mu masks  runtime s  file s  ratio                 ratio of the processor's"
    for name in asked.networks:
        bundle, file = files(name, asked.folder)
        explainer, single = sise_rt.load(bundle, "cpu"), open_single_file(file)
        picture, mu = explainer.prepare(photos(1)[0]), 0.5 if name in SLOW else 0.0
        turns = (
            partial(explainer.explain, picture, mu=mu, batch_size=BATCH),
            partial(single.explain, picture.tensor, mu=mu),
        )
        rows = []
        for _ in range(asked.rounds + 1):
            taken = []
            for run in turns:
                clock, processor = time.perf_counter(), time.process_time()
                masks = run().masks
                taken += [time.perf_counter() - clock, time.process_time() - processor]
            rows.append(taken)
        warm = rows[1:]
        yield (
            f"{name:24} {mu:3.1f} {masks:5d}  {median(row[0] for row in warm):9.2f}  "
            f"{median(row[2] for row in warm):6.2f}  {spread([row[2] / row[0] for row in warm]):20}  "
            f"{spread([row[3] / row[1] for row in warm])}"
        )


def memory(asked: Asked) -> Iterator[str]:
    """MB of processes of their own."""
    yield f"{'network':24} runtime MB  file MB  ratio"
    photo = photos(1)[0]
    for name in asked.networks:
        bundle, file = files(name, asked.folder)
        pairs = [
            (run_apart(BY_RUNTIME, bundle, photo), run_apart(BY_FILE, file, photo))
            for _ in range(min(asked.rounds, 3))
        ]
        runtime, own = (median(column) for column in zip(*pairs, strict=True))
        yield f"{name:24} {runtime:10.0f}  {own:7.0f}  {spread([b / a for a, b in pairs])}"


def pictures(asked: Asked) -> Iterator[str]:
    """Photos of odd sizes, a line each; mu 0.9."""
    yield f"{'network':24} {'picture':>11}  class  logits  of the largest  pixels off  largest"
    for name in (name for name in asked.networks if name in PREPARED):
        bundle, file = files(name, asked.folder, inside=True)
        explainer, single = sise_rt.load(bundle, "cpu"), open_single_file(file)
        forward = explainer.engine.sessions.open("forward")
        for place, photo in enumerate(photos(PICTURES)):
            pixels = load_image(photo)
            rows, columns = ((extent - 7 * place - 1) | 1 for extent in pixels.shape[:2])
            pixels = np.ascontiguousarray(pixels[:rows, :columns])
            picture = explainer.prepare(pixels)
            (logits,) = forward.run({"images": picture.tensor})
            expected, own = explainer.explain(picture, mu=0.9), single.explain(pixels, mu=0.9)
            error, off = np.abs(own.logits - logits[0]).max(), np.abs(own.map - expected.map)
            same = "same" if own.target == expected.target else "OTHER"
            yield (
                f"{name:24} {columns:5d}x{rows:5d}  {same:5}  {error:.1e}  "
                f"{error / np.abs(logits).max():14.1e}  {(off > OFF).mean():10.2%}  {off.max():.1e}"
            )


def degenerate(asked: Asked) -> Iterator[str]:
    """Status, map, class and confidence, a case a line."""
    yield f"{'case':26} status                 map        class  confidence"
    file, silent = (
        export_single_file(
            made(asked.folder / f"small_{head:g}.onnx", head),
            asked.folder / f"explains_{head:g}.onnx",
            activation="softmax",
            overwrite=True,
        ).path
        for head in (1.0, 0.0)
    )
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    grey, nan, infinite = np.full_like(image, 0.5), image.copy(), image.copy()
    nan[0, 0, 0, 0], infinite[0, 0, 0, 0] = np.nan, np.inf
    cases = {
        "a picture": (file, image, {}),
        "one mask": (file, image, {"max_masks": 1}),
        "a head that no map moves": (silent, image, {}),
        "one grey": (file, grey, {}),
        "a pixel that is NaN": (file, nan, {}),
        "a pixel that is infinite": (file, infinite, {}),
        "pixels of 1e37": (file, image * np.float32(1e37), {}),
        "target 4 of 4 classes": (file, image, {"target": 4}),
        "target -2": (file, image, {"target": -2}),
        "max_masks 0": (file, image, {"max_masks": 0}),
        "mu 1": (file, image, {"mu": 1.0}),
        "mu NaN": (file, image, {"mu": float("nan")}),
    }
    for case, (model, given, settings) in cases.items():
        own = open_single_file(model).explain(given, **settings)
        values = [own.map, own.visualization_maps, own.logits, own.confidence]
        finite = all(np.isfinite(value).all() for value in values)
        meaning = f"{own.status} {MEANING[own.status]}"
        shown = f"{own.map.min():g} to {own.map.max():g}" if own.map.any() else "zero"
        yield (
            f"{case:26} {meaning:22} {shown:10} {own.target:5d}  {own.confidence:.4f}"
            f"{'' if finite else '  NOT FINITE'}"
        )


def made(path: Path, head: float) -> Path:
    """A network of 1 x 1 convolutions for 32 x 32 pixels, to which one grey is flat everywhere.

    Args:
        path: of the file that is written.
        head: what the weights of the last layer are multiplied by.
    """
    rng, nodes, weights = np.random.default_rng(1), [], {}
    before, channels = "image", 3
    for index, wide in enumerate((8, 12, 16)):
        weights[f"w{index}"] = rng.normal(0, 0.5, (wide, channels, 1, 1)).astype(np.float32)
        nodes += [
            helper.make_node("Conv", [before, f"w{index}"], [f"conv{index}"]),
            helper.make_node("Relu", [f"conv{index}"], [f"relu{index}"]),
            helper.make_node(
                "MaxPool", [f"relu{index}"], [f"pool{index}"], kernel_shape=[2, 2], strides=[2, 2]
            ),
        ]
        before, channels = f"pool{index}", wide
    weights["head"] = head * rng.normal(0, 1, (channels, 4)).astype(np.float32)
    nodes += [
        helper.make_node("GlobalAveragePool", [before], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["out"]),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])]
        for name, shape in (("image", (3, 32, 32)), ("out", (4,)))
    ]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "small", *ends, stored)
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=8), path)
    return path


PARTS = {part.__name__: part for part in (agreement, seconds, memory, pictures, degenerate)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--photos", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", type=Path, help="a folder to keep bundles and files in")
    options = parser.parse_args(arguments)
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no part {', '.join(sorted(unknown))}; known are {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as scratch:
        folder = options.models or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        asked = Asked(folder, options.networks, options.photos, options.rounds)
        for part in options.parts or PARTS:
            print(f"\n{part}")
            for line in PARTS[part](asked):
                print(line, flush=True)


if __name__ == "__main__":
    main()
