"""The tables of docs/scale.md are those that the program computes, and follow from their figures."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.scale import MEASURED, Cluster, seconds_of, sizes, times

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
FIGURES = replace(MEASURED, start=10, uneven=0, seconds={"fast": 2}, gpu_seconds={"fast": 0.5}, decoding=1)


@pytest.mark.parametrize("table", [times, sizes])
def test_the_page_has_the_tables(table):
    assert "\n".join(table(1_000_000, MEASURED)) in PAGE


@pytest.mark.parametrize(
    ("cluster", "seconds"),
    [
        (Cluster("cores", 10, 0, 1), 10 + 100 * 2 / 10),
        (Cluster("a GPU with cores enough", 10, 1, 1), 10 + 100 * 0.5),
        (Cluster("GPUs that wait for cores", 10, 8, 1), 10 + 100 * 1 / 10),
    ],
)
def test_the_slower_of_cores_and_gpus_tells(cluster, seconds):
    assert seconds_of(cluster, "fast", 100, FIGURES) == pytest.approx(seconds)
