"""What is written of an item: a tree that mirrors the pictures', and drawings of several together."""

import numpy as np
import pytest

import sise_rt
from sise_rt.bulk.explaining import Asked, outcome_of
from sise_rt.bulk.items import Item, Outcome
from sise_rt.bulk.keeping import Keep, write_files
from sise_rt.comparing import compare
from sise_rt.errors import OutputError
from sise_rt.methods import parse
from sise_rt.saving import USUAL


@pytest.fixture(scope="module")
def explained(small_bundle):
    """Two methods, two targets."""
    explainer = sise_rt.load(small_bundle, "cpu")
    pixels = np.random.default_rng(3).integers(0, 256, (32, 40, 3), np.uint8)
    asked = Asked(requests=(parse("sise"), parse("score-cam")), targets=(0, 1), batch_size=16)
    return outcome_of(explainer, Item("cam1/7.png", pixels, "cam1/7"), explainer.prepare(pixels), asked)


def keeping(folder, **changes):
    defaults = {"outputs": USUAL, "named": True, "map_size": None, "draw": sise_rt.Explanation.plain_png}
    return Keep(folder=folder, **(defaults | changes))


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_results_lie_where_the_item_does(explained, tmp_path):
    written = write_files(explained, keeping(tmp_path, compare=compare))
    bases = [f"cam1/7.{target}.{method}" for method in ("sise", "score-cam") for target in (0, 1)]
    assert names(tmp_path) == sorted(
        [f"{base}.{end}" for base in bases for end in ("png", "npy", "json")]
        + [f"cam1/7.{target}.methods.png" for target in (0, 1)]
        + [f"cam1/7.0.1.{method}.compare.png" for method in ("sise", "score-cam")]
    )
    below = written.below(tmp_path)
    assert sorted(name for part in below for name in part) == names(tmp_path)
    assert [part[:3] for part in below] == [
        [f"{base}.{end}" for end in ("png", "npy", "json")] for base in bases
    ]


def test_only_what_is_wanted_is_written(explained, tmp_path):
    one = Outcome(explained.item, explained.picture, {"sise": explained.explained["sise"][:1]})
    written = write_files(one, keeping(tmp_path, named=False, outputs=frozenset({"map"}), map_size=8))
    assert written.below(tmp_path) == [["cam1/7.0.npy"]]
    assert min(np.load(tmp_path / "cam1/7.0.npy").shape) == 8
    assert write_files(one, keeping(tmp_path / "none", outputs=frozenset())).parts == [[]]
    assert not (tmp_path / "none").exists()


def test_what_an_interrupt_left_takes_no_whole_ones_place(explained, tmp_path):
    from dataclasses import replace

    part = replace(explained.explained["sise"][0], partial=True)
    for stopped, base in ((True, "cam1/7.0.partial"), (False, "cam1/7.0")):
        one = Outcome(explained.item, explained.picture, {"sise": [part]}, stopped=stopped)
        written = write_files(one, keeping(tmp_path, named=False))
        assert written.below(tmp_path)[0][0] == f"{base}.png"


def test_a_file_of_somebody_else_stays(explained, tmp_path):
    (tmp_path / "cam1").mkdir()
    (tmp_path / "cam1" / "7.0.sise.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        write_files(explained, keeping(tmp_path))
    assert (tmp_path / "cam1" / "7.0.sise.png").read_bytes() == b"mine"
