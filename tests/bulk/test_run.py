"""A run: what is written of an item is there before the ledger says so."""

from dataclasses import replace

import numpy as np
import pytest

import sise_rt
from sise_rt.bulk.explaining import Asked, outcome_of
from sise_rt.bulk.items import Item, Outcome
from sise_rt.bulk.keeping import Keep
from sise_rt.bulk.ledger import opened, read_results
from sise_rt.bulk.map_shards import MapShards, read_maps
from sise_rt.bulk.overview import side_file
from sise_rt.bulk.run import Run, settings_of_run
from sise_rt.errors import ImageError
from sise_rt.methods import parse
from sise_rt.metrics.check import check
from sise_rt.saving import USUAL

ASKED = Asked(requests=(parse("grad-cam"),), targets=(0,))


@pytest.fixture(scope="module")
def explainer(small_bundle):
    return sise_rt.load(small_bundle, "cpu")


def item(name):
    pixels = np.random.default_rng(len(name)).integers(0, 256, (32, 40, 3), np.uint8)
    return Item(name, pixels, name)


def keeping(folder, outputs=USUAL):
    return Keep(
        folder=folder, outputs=outputs, named=False, map_size=None, draw=sise_rt.Explanation.plain_png
    )


def settings(explainer, folder, asked=ASKED):
    return settings_of_run(explainer, None, asked, keeping(folder), {"size": 512}, "files")


def outcome(explainer, name):
    one = item(name)
    return outcome_of(explainer, one, explainer.prepare(one.picture), ASKED)


def test_settings_are_all_that_results_depend_on(explainer, tmp_path):
    plain = settings(explainer, tmp_path)
    assert plain["methods"] == {"grad-cam": {}}
    for changes in (
        {"requests": (parse("sise"),)},
        {"targets": None},
        {"top_k": 2},
        {"only_wrong": True},
        {"below": 0.5},
        {"check": check},
        {"bit_depth": 12},
        {"max_pixels": 100},
    ):
        assert settings(explainer, tmp_path, replace(ASKED, **changes)) != plain, changes
    assert settings(explainer, tmp_path, replace(ASKED, batch_size=3)) == plain


def test_an_outcome_is_in_files_in_the_ledger_and_on_the_shelf(explainer, tmp_path):
    shelf = side_file.side_file(tmp_path)
    with opened(tmp_path, settings(explainer, tmp_path)) as ledger:
        side_file.begin(shelf)
        run = Run(ledger, keeping(tmp_path), thumbnails=shelf)
        entry = run.enter(outcome(explainer, "a"))
        failed = run.enter(Outcome(item("b"), error=ImageError("empty")))
        assert [each.id for each in run.left(map(item, "abc"))] == ["c"]
    assert list(read_results(tmp_path)) == [*entry.lines, *failed.lines]
    assert entry.lines[0]["files"] == ["a.0.png", "a.0.npy", "a.0.json"]
    assert all((tmp_path / name).is_file() for name in entry.lines[0]["files"])
    assert failed.lines[0]["error"] == {"kind": "ImageError", "message": "empty"}
    assert len(shelf.read_text("ascii").splitlines()) == 1


def test_what_an_interrupt_left_is_explained_again(explainer, tmp_path):
    with opened(tmp_path, settings(explainer, tmp_path)) as ledger:
        run = Run(ledger, keeping(tmp_path))
        entry = run.enter(replace(outcome(explainer, "a"), stopped=True))
        assert entry.lines == []
        assert [each.id for each in run.left([item("a")])] == ["a"]


def test_maps_go_into_a_shard(explainer, tmp_path):
    one = outcome(explainer, "a")
    with opened(tmp_path, settings(explainer, tmp_path)) as ledger:
        with MapShards(tmp_path, ledger.statuses.__contains__) as shards:
            Run(ledger, keeping(tmp_path, frozenset()), shards=shards).enter(one)
    (kept,) = read_maps(tmp_path)
    assert (kept.id, kept.target, kept.method) == ("a", 0, "grad-cam")
    assert np.abs(kept.map - one.parts[0][1].map).max() < 1e-3


MEMORY = """
import gc, json, sys, tracemalloc
from pathlib import Path
import numpy as np
import sise_rt
from sise_rt.bulk.explaining import Asked, explain_items
from sise_rt.bulk.items import Item
from sise_rt.bulk.keeping import Keep
from sise_rt.bulk.ledger import opened
from sise_rt.bulk.run import Run, settings_of_run
from sise_rt.methods import parse

folder = Path(sys.argv[2])
explainer = sise_rt.load(sys.argv[1], "cpu")
asked = Asked(requests=(parse("grad-cam"),), targets=(0,))
keep = Keep(folder=folder, outputs=frozenset({"map"}), named=False, map_size=None, draw=None)
sizes = []

def items(numbers):
    for number in numbers:
        if number in (10, 100):
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
        pixels = np.random.default_rng(3).integers(0, 256, (32, 40, 3), np.uint8)
        yield Item(f"{number:03}", pixels, f"{number:03}")

with opened(folder, settings_of_run(explainer, None, asked, keep, {"size": 512}, "files")) as ledger:
    run = Run(ledger, keep)
    # What is imported late does not count.
    explain_items(explainer, items(range(1000, 1002)), asked, run.enter, lambda *_: None)
    tracemalloc.start()
    explain_items(explainer, items(range(110)), asked, run.enter, lambda *_: None)
print(json.dumps(sizes))
"""


def test_memory_does_not_grow_with_the_pictures(small_bundle, tmp_path, alone):
    """What stays of each is its id and its status: less than 1 kB, where a picture and its map take 20 kB."""
    after_10, after_100 = alone(MEMORY, small_bundle, tmp_path)
    assert (after_100 - after_10) / 90 < 1000
