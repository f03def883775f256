"""What a million pictures cost on clusters, computed from what one machine was measured to take.

    python -m benchmarks.scale [--pictures 1000000] [--measure]

The figures it computes from are below; `--measure` measures those again that are bytes, with ResNet-18 and
photos of the material.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import sise_rt
from sise_rt.wording import in_bytes

DAY, HOUR = 86400.0, 3600.0


@dataclass(frozen=True)
class Figures:
    """What was measured, or is assumed.

    Attributes:
        seconds: that a core works at a picture, by the preset; ResNet-18 at 224 x 224.
        gpu_seconds: that a GPU works at one, likewise; assumed.
        decoding: that a core decodes and draws one, beside a GPU.
        line: bytes of a line of results.
        row: bytes of a row of a part without map and overlay, compressed.
        map: bytes of a map of 224 x 224 in a part, float16, compressed.
        small_map: of one of 56 x 56.
        overlay: bytes of an overlay of a photo of 500 x 375.
        thumbnail: bytes that the overview keeps of a picture.
        picture: bytes of a photo of about 500 x 375 as JPEG.
        item: bytes that the driver has in memory for each picture that is listed.
        start: seconds until the actors work.
        uneven: the share of time that actors wait at the end, and for the driver.
    """

    seconds: dict[str, float]
    gpu_seconds: dict[str, float]
    decoding: float
    line: float
    row: float
    map: float
    small_map: float
    overlay: float
    thumbnail: float
    picture: float
    item: float
    start: float
    uneven: float


MEASURED = Figures(
    # docs/performance.md: 11 and 1.7 s a photo on two cores, exact and with the preset.
    seconds={"exact": 22.0, "fast": 3.4},
    # Assumed: 500 and 50 masked copies at 2,000 a second, and 10 ms for the features.
    gpu_seconds={"exact": 0.26, "fast": 0.035},
    decoding=0.034,  # docs/performance.md: 9 ms to read a photo, 25 ms to draw and save
    # As printed with --measure on six photos; a row as in a part of six, which larger parts have smaller.
    picture=160_000,
    line=2_683 + 350,  # of the record, and what a line has besides
    row=4_684,
    map=27_122,
    small_map=2_144,
    overlay=349_720,
    thumbnail=12_200,  # two pictures of 192 pixels as WebP in base64; the overlay was a stand-in
    item=883,
    start=60,
    uneven=0.05,
)


@dataclass(frozen=True)
class Cluster:
    """Machines that pictures are dealt out to.

    Attributes:
        name: for people.
        cores: of all nodes.
        gpus: likewise.
        nodes: how many.
    """

    name: str
    cores: int
    gpus: int
    nodes: int


CLUSTERS = (
    Cluster("this kind of machine", 2, 0, 1),
    Cluster("8 CPU nodes of 32 cores", 256, 0, 8),
    Cluster("1 GPU, 8 cores", 8, 1, 1),
    Cluster("8 GPUs, 64 cores", 64, 8, 8),
)


def seconds_of(cluster: Cluster, preset: str, pictures: int, figures: Figures) -> float:
    """How long a run takes: by its GPUs, or by its cores, whichever are the slower ones."""
    if cluster.gpus:
        scoring = figures.gpu_seconds[preset] / cluster.gpus
        each = max(scoring, figures.decoding / cluster.cores)
    else:
        each = figures.seconds[preset] / cluster.cores
    return figures.start + pictures * each * (1 + figures.uneven)


def times(pictures: int, figures: Figures) -> Iterator[str]:
    """The table of times, in Markdown."""
    yield "| | preset | pictures a second | takes | node hours | pictures read | results written |"
    yield "|---|---|---|---|---|---|---|"
    for cluster in CLUSTERS:
        for preset in figures.seconds:
            seconds = seconds_of(cluster, preset, pictures, figures)
            takes = f"{seconds / HOUR:.1f} h" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"
            rate = pictures / seconds
            written = figures.row + figures.map + figures.line + figures.thumbnail
            yield (
                f"| {cluster.name}{' (assumed)' if cluster.gpus else ''} | {preset} | {rate:,.3g} | {takes} "
                f"| {seconds * cluster.nodes / HOUR:,.0f} | {in_bytes(rate * figures.picture)}/s "
                f"| {in_bytes(rate * written)}/s |"
            )


def sizes(pictures: int, figures: Figures) -> Iterator[str]:
    """The table of what lies on disks, in Markdown."""
    yield "| | a picture | all |"
    yield "|---|---|---|"
    for name, each in (
        ("photos of 500 x 375, read once", figures.picture),
        ("lines of results.jsonl", figures.line),
        ("rows of the parts", figures.row),
        ("maps of 224 x 224 in the parts", figures.map),
        ("maps of 56 x 56 (`--map-size 56`) instead", figures.small_map),
        ("overlays in the parts", figures.overlay),
        ("what the overview keeps", figures.thumbnail),
        ("pictures in the driver's memory", figures.item),
    ):
        yield f"| {name} | {in_bytes(each)} | {in_bytes(each * pictures)} |"


def measured() -> Iterator[str]:
    """Bytes a picture, measured on a few."""
    import tracemalloc

    import pyarrow

    from benchmarks.material import photos
    from benchmarks.timing import exported
    from sise_rt.bulk.items import Item
    from sise_rt.bulk.ray import Explain
    from sise_rt.bulk.ray.given import item_row

    paths = photos(12)[6:]  # of about 500 x 375 pixels
    with tempfile.TemporaryDirectory(prefix="sise-rt-") as scratch:
        bundle = exported("resnet18", Path(scratch))[1]
        explain = Explain(bundle, methods=["sise:budget=0.1"], threads=2, draw=sise_rt.Explanation.plain_png)
        table = explain(pyarrow.table({"path": list(map(str, paths))}))
    record = sum(map(len, table["record"].to_pylist()))
    small = pyarrow.table({"map": [_small(row["map"], row["map_shape"]) for row in table.to_pylist()]})
    sizes = {
        "photo": sum(path.stat().st_size for path in paths),
        "record": record,
        "row without map and overlay": _compressed(table.drop_columns(["map", "overlay"])),
        "map of 224 x 224": _compressed(table.select(["map"])),
        "map of 56 x 56": _compressed(small),
        "overlay": _compressed(table.select(["overlay"])),
    }
    for name, size in sizes.items():
        yield f"{name}: {size / len(paths):,.0f} bytes"
    tracemalloc.start()
    names = [f"cam{number % 7}/{number:07}.png" for number in range(100_000)]
    items = [Item(id=name, picture=Path("/data") / name, stem=name[:-4]) for name in names]
    held = [names, items, list(map(item_row, items)), dict.fromkeys(names, "done"), set(names)]
    yield f"an item in the driver's memory: {tracemalloc.get_traced_memory()[0] / len(held[0]):,.0f} bytes"


def _small(data: bytes, shape: Sequence[int]) -> bytes:
    from sise_rt.bulk.pending_maps import half
    from sise_rt.saving import smaller_map

    map_ = np.frombuffer(data, "<f2").reshape(shape).astype(np.float32)
    return half(smaller_map(map_, 56)).tobytes()


def _compressed(table: Any) -> int:
    """Bytes of a table as a part has it."""
    from pyarrow import parquet

    stream = io.BytesIO()
    parquet.write_table(table, stream, compression="zstd")
    return len(stream.getvalue())


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--measure", action="store_true", help="measure bytes again, rather than compute")
    options = parser.parse_args(arguments)
    if options.measure:
        lines = measured()
    else:
        figures = MEASURED
        lines = iter([*times(options.pictures, figures), "", *sizes(options.pictures, figures)])
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
